package main

// This file is the flow: sign up, log in, who am I.
//
//   - Sign-up takes JSON. It stores a bcrypt hash of the password, and never the password.
//   - Log-in takes OAuth 2's password form and compares the password with the hash. The answer has a token, which names
//     the user and is signed with a key that only this program has.
//   - A request with that token is a request of that user. There are no sessions.
//
// After userOf you know the whole flow. Below it are its parts: requests, answers, bcrypt, the throttle, tokens. "The
// lesson" is FastAPI's "Signup and Login Endpoints".

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	maxBody     = 64 << 10 // bytes: more than any sign-up or log-in needs
	maxUsername = 64       // characters
	maxEmail    = 254      // characters (RFC 5321 §4.5.3.1.3)
	minPassword = 8        // characters (NIST SP 800-63B §3.1.1.2: 8 beside a second factor, 15 without)
	maxPassword = 72       // bytes: bcrypt reads no further

	maxQueue     = 100             // requests that wait for bcrypt
	maxWait      = 5 * time.Second // then clients give up
	busyPause    = 5 * time.Second // Retry-After of a 503
	maxFailures  = 10              // failed log-ins in a row before the throttle starts
	failurePause = time.Minute     // then between two tries: 1,440 a day don't guess a good password
	maxAccounts  = 10_000          // in the throttle: about 1 MB

	loginPath = "/auth/login" // OAuth 2's token endpoint

	// usernameCharacters allow e-mail addresses, but no look-alikes such as the Cyrillic а.
	usernameCharacters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-@+"
)

// A server has the handlers of /auth/.
type server struct {
	users    *store
	key      []byte // signs the tokens
	tokenTTL time.Duration
	now      func() time.Time

	throttle throttle
	waiting  chan struct{} // a place for each request that hashes or waits to
	slots    chan struct{} // a place for each request that hashes
}

var processors = runtime.GOMAXPROCS(0) // before serve adds one

func newServer(users *store, key []byte, tokenTTL time.Duration) *server {
	return &server{
		users:    users,
		key:      key,
		tokenTTL: tokenTTL,
		now:      time.Now,
		throttle: throttle{accounts: make(map[throttleKey]failures)},
		waiting:  make(chan struct{}, processors+maxQueue),
		slots:    make(chan struct{}, processors),
	}
}

// signup stores a new user: POST /auth/signup with JSON.
func (s *server) signup(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r, "application/json")
	if !ok {
		return
	}
	u, password, found := parseSignup(body)
	if len(found) > 0 {
		writeError(w, r, http.StatusUnprocessableEntity, found)
		return
	}
	hash, err := s.hash(r, password)
	if err != nil {
		writeFailure(w, r, err)
		return
	}
	start := time.Now()
	u.HashedPassword, u.IsActive = string(hash), true
	u, err = s.users.create(u)
	if errors.Is(err, errExists) {
		writeError(w, r, http.StatusBadRequest, "Username already exists")
		return
	}
	if err != nil {
		logger(r).Error("user not saved", "err", err)
		writeRetry(w, r, http.StatusServiceUnavailable, "Users cannot be stored just now", busyPause)
		return
	}
	logger(r).Debug("saved the user", "user_id", u.ID, "took", time.Since(start))
	writeJSON(w, http.StatusCreated, struct {
		Message string `json:"message"`
		UserID  int64  `json:"user_id"`
	}{"User created", u.ID})
}

// login exchanges a username and password for a token: POST /auth/login with OAuth 2's password form (RFC 6749 §4.3).
//
// For wrong credentials of any kind, the answer and the work are the same: strangers must not learn who has an account.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r, "application/x-www-form-urlencoded")
	if !ok {
		return
	}
	username, password, found, oauthError := parseLogin(body)
	if len(found) > 0 {
		writeErrorBody(w, r, http.StatusUnprocessableEntity, errorBody{found, oauthError})
		return
	}
	account := newThrottleKey(username, r.RemoteAddr)
	if wait := s.throttle.retryAfter(account, s.now()); wait > 0 {
		writeRetry(w, r, http.StatusTooManyRequests, "Too many failed log-ins", wait)
		return
	}
	u, cost := s.users.byName(username)
	wrong, err := s.checkPassword(r, u, password, cost)
	if err != nil {
		writeFailure(w, r, err)
		return
	}
	if wait := s.throttle.record(account, wrong == "", s.now()); wait > 0 {
		writeRetry(w, r, http.StatusTooManyRequests, "Too many failed log-ins", wait)
		return
	}
	if wrong != "" {
		logger(r).Debug("refused the log-in", "reason", wrong)
		w.Header().Set("WWW-Authenticate", `Bearer realm="auth"`)
		writeError(w, r, http.StatusUnauthorized, "Invalid credentials")
		return
	}
	now := s.now()
	token := signToken(s.key, claims{
		Subject:     strconv.FormatInt(u.ID, 10),
		IssuedAt:    now.Unix(),
		Expires:     now.Add(s.tokenTTL).Unix(),
		Fingerprint: fingerprint(u),
	})
	logger(r).Debug("right password: signed a token", "user_id", u.ID, "expires_in", s.tokenTTL)
	writeJSON(w, http.StatusOK, struct {
		Message     string `json:"message"`
		UserID      int64  `json:"user_id"`
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}{"Login successful", u.ID, token, "bearer", int64(s.tokenTTL / time.Second)})
}

// me tells whose token it is: GET /auth/me. The answer is of another type than user, so it can't show the hash.
func (s *server) me(w http.ResponseWriter, r *http.Request, u user) {
	writeJSON(w, http.StatusOK, struct {
		ID       int64  `json:"id"`
		Username string `json:"username"`
		Email    string `json:"email"`
		IsActive bool   `json:"is_active"`
	}{u.ID, u.Username, u.Email, u.IsActive})
}

// requireUser calls next with the user of the request's token, or answers 401 itself.
func (s *server) requireUser(next func(http.ResponseWriter, *http.Request, user)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		token = strings.TrimLeft(token, " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="auth"`) // without a token, no error= (RFC 6750 §3.1)
			writeError(w, r, http.StatusUnauthorized, "Not authenticated")
			return
		}
		u, err := s.userOf(token)
		if err != nil {
			logger(r).Debug("refused the token", "reason", err)
			w.Header().Set("WWW-Authenticate", `Bearer realm="auth", error="invalid_token"`)
			writeError(w, r, http.StatusUnauthorized, "Could not validate credentials")
			return
		}
		logger(r).Debug("accepted the token", "user_id", u.ID)
		next(w, r, u)
	}
}

// userOf returns the user of a token. The error is for the log, not for the client. The account is looked up each time:
// to disable or remove a user, or to change the password, voids the tokens at once.
func (s *server) userOf(token string) (user, error) {
	c, err := verifyToken(s.key, token, s.now())
	if err != nil {
		return user{}, err
	}
	id, err := strconv.ParseUint(c.Subject, 10, 63)
	if err != nil {
		return user{}, errors.New("sub is not the id of a user")
	}
	u := s.users.byID(int64(id))
	switch {
	case u.ID == 0:
		return user{}, errors.New("the user was removed")
	case !u.IsActive:
		return user{}, errors.New("the user is disabled")
	case c.Fingerprint != fingerprint(u):
		return user{}, errors.New("the user's name or password has changed since")
	}
	return u, nil
}

// A fault is one thing that is wrong with the input, in FastAPI's form. It doesn't repeat the input.
type fault struct {
	Type string `json:"type"`
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
}

type faults []fault

// check adds a fault unless ok.
func (f *faults) check(ok bool, field, kind, msg string) {
	if !ok {
		*f = append(*f, fault{kind, []any{"body", field}, msg})
	}
}

// parseSignup returns the user and the password that a sign-up asks for, or all faults. It doesn't decode the body into
// a user: then clients could set id and is_active, as in the lesson (mass assignment, OWASP API3:2023).
func parseSignup(body []byte) (u user, password string, found faults) {
	var members map[string]json.RawMessage
	err := json.Unmarshal(body, &members)
	var syntax *json.SyntaxError
	switch {
	case len(body) == 0:
		return u, "", faults{{"missing", []any{"body"}, "Field required"}}
	case !utf8.Valid(body):
		return u, "", faults{{"json_invalid", []any{"body"}, "JSON decode error: not UTF-8"}}
	case errors.As(err, &syntax):
		return u, "", faults{{"json_invalid", []any{"body", max(0, syntax.Offset-1)}, "JSON decode error"}}
	case err != nil || members == nil: // an array, a string, null
		return u, "", faults{{"model_attributes_type", []any{"body"}, "Input should be a valid dictionary or object"}}
	}
	text := func(field string) (value string, ok bool) {
		var decoded *string // nil: null
		raw, sent := members[field]
		if !sent {
			found.check(false, field, "missing", "Field required")
			return "", false
		}
		if json.Unmarshal(raw, &decoded) != nil || decoded == nil {
			found.check(false, field, "string_type", "Input should be a valid string")
			return "", false
		}
		return *decoded, true
	}
	if name, ok := text("username"); ok {
		u.Username = name
		found.check(name != "", "username", "string_too_short", "String should have at least 1 character")
		found.check(utf8.RuneCountInString(name) <= maxUsername, "username", "string_too_long",
			fmt.Sprintf("String should have at most %d characters", maxUsername))
		found.check(strings.Trim(name, usernameCharacters) == "", "username", "string_pattern_mismatch",
			"String should have only ASCII letters, digits and . _ - @ +")
	}
	if email, ok := text("email"); ok {
		u.Email = email
		found.check(utf8.RuneCountInString(email) <= maxEmail, "email", "string_too_long",
			fmt.Sprintf("String should have at most %d characters", maxEmail))
		found.check(isEmail(email), "email", "value_error", "Value is not a valid email address")
	}
	// The lesson's request calls the plain password hashed_password, so that is its second name.
	field := "password"
	_, sent := members["password"]
	_, sentSecond := members["hashed_password"]
	if sentSecond && !sent {
		field = "hashed_password"
	}
	password, ok := text(field)
	if ok {
		found.check(utf8.RuneCountInString(password) >= minPassword, field, "string_too_short",
			fmt.Sprintf("String should have at least %d characters", minPassword))
		found.check(len(password) <= maxPassword, field, "string_too_long",
			fmt.Sprintf("String should have at most %d bytes", maxPassword))
		// RuneError is what Go's JSON decoder makes of half a surrogate pair: different passwords would become equal.
		found.check(!strings.ContainsFunc(password, unicode.IsControl) && !strings.ContainsRune(password, utf8.RuneError),
			field, "value_error", "Value should have no control character and be valid Unicode")
	}
	if sentSecond && sent {
		other, _ := text("hashed_password")
		found.check(other == password, "hashed_password", "value_error", "Value should be that of password, or be left out")
	}
	return u, password, found
}

// isEmail reports whether text is one bare address. mail.ParseAddress also accepts "Name <a@b>" and literals (a@[::1]).
func isEmail(text string) bool {
	address, err := mail.ParseAddress(text)
	return err == nil && address.Address == text && !strings.HasSuffix(text, "]") &&
		!strings.ContainsRune(text, utf8.RuneError) &&
		!strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// parseLogin returns the credentials in a form, or all faults and OAuth 2's name for them. The query string is not
// read: URLs end up in logs.
func parseLogin(body []byte) (username, password string, found faults, oauthError string) {
	form, err := url.ParseQuery(string(body))
	if err != nil { // wrong %-encoding, or too many parameters
		return "", "", faults{{"value_error", []any{"body"}, "Value is not a valid form"}}, "invalid_request"
	}
	for _, name := range []string{"grant_type", "username", "password", "scope", "client_id", "client_secret"} {
		// RFC 6749 §3.2, which ignores unknown parameters
		found.check(len(form[name]) <= 1, name, "value_error", "A parameter should not be repeated")
	}
	username, password = form.Get("username"), form.Get("password")
	found.check(username != "", "username", "missing", "Field required")
	found.check(password != "", "password", "missing", "Field required")
	if grant := form.Get("grant_type"); grant != "" && grant != "password" {
		found.check(false, "grant_type", "string_pattern_mismatch", "String should match pattern '^password$'")
		return "", "", found, "unsupported_grant_type"
	}
	return username, password, found, "invalid_request"
}

// readBody returns a body of that media type. Otherwise it answers 415, 413 or 422 itself and returns false.
func readBody(w http.ResponseWriter, r *http.Request, mediaType string) ([]byte, bool) {
	if sent, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || sent != mediaType {
		writeError(w, r, http.StatusUnsupportedMediaType, "Content-Type must be "+mediaType)
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if errors.As(err, new(*http.MaxBytesError)) {
		writeTooLarge(w, r)
		return nil, false
	}
	if err != nil { // broken off, or too slow
		writeError(w, r, http.StatusUnprocessableEntity,
			faults{{"value_error", []any{"body"}, "Body could not be read to its end"}})
		return nil, false
	}
	return body, true
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, _ := json.Marshal(v) // can't fail: strings, numbers and booleans
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text)
}

// An errorBody is the body of every error.
type errorBody struct {
	Detail any    `json:"detail"`          // a sentence, or faults
	Error  string `json:"error,omitempty"` // at the token endpoint: OAuth 2's name for it (RFC 6749 §5.2)
}

// writeErrorBody answers with an error, and logs it for -v.
func writeErrorBody(w http.ResponseWriter, r *http.Request, status int, body errorBody) {
	logger(r).Debug("refused the request", "status", status, "detail", body.Detail)
	writeJSON(w, status, body)
}

// writeError answers with an error. At the token endpoint it adds OAuth 2's name for it.
func writeError(w http.ResponseWriter, r *http.Request, status int, detail any) {
	body := errorBody{Detail: detail}
	if r.Method == http.MethodPost && r.URL.Path == loginPath {
		switch status {
		case http.StatusUnauthorized:
			body.Error = "invalid_grant"
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			body.Error = "temporarily_unavailable" // from §4.1.2.1: §5.2 has no word for it
		case http.StatusInternalServerError:
			body.Error = "server_error" // likewise
		default:
			body.Error = "invalid_request"
		}
	}
	writeErrorBody(w, r, status, body)
}

func writeTooLarge(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close") // rather than read the rest
	writeError(w, r, http.StatusRequestEntityTooLarge, fmt.Sprintf("Body must be at most %d bytes", maxBody))
}

// writeRetry also says when to try again.
func writeRetry(w http.ResponseWriter, r *http.Request, status int, detail string, after time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	writeError(w, r, status, detail)
}

// writeFailure answers 503 if the server is busy. It logs any other error and answers 500.
func writeFailure(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errBusy) {
		writeRetry(w, r, http.StatusServiceUnavailable, "Too busy just now", busyPause)
		return
	}
	logger(r).Error("the request failed", "err", err)
	writeError(w, r, http.StatusInternalServerError, "Internal Server Error")
}

type loggerKey struct{}

func withLogger(r *http.Request, log *slog.Logger) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), loggerKey{}, log))
}

func logger(r *http.Request) *slog.Logger { return r.Context().Value(loggerKey{}).(*slog.Logger) }

var errBusy = errors.New("too many requests wait for bcrypt")

// withBcryptSlot calls work, which hashes, in one of as many slots as there are processors. It returns the error of
// work, or errBusy.
//
// bcrypt is slow on purpose: at cost 12 it computes for a fifth of a second. If 32 requests hashed at the same time,
// all requests would wait for seconds, and no hash would finish sooner. So they wait for a slot. A channel with room
// for n values is a semaphore: a send takes a place, and waits if there is none; a receive gives it back. serve lets Go
// run one goroutine more (it gives the scheduler one more "P") than there are slots, so requests that don't hash don't
// wait.
//
// The wait is limited, because a late answer is wasted work. A client that disconnects stops waiting.
func (s *server) withBcryptSlot(ctx context.Context, work func() error) error {
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return errBusy
	}
	return work()
}

func (s *server) hash(r *http.Request, password string) (hash []byte, err error) {
	err = s.withBcryptSlot(r.Context(), func() (err error) {
		start := time.Now()
		hash, err = bcrypt.GenerateFromPassword([]byte(password), s.users.cost)
		logger(r).Debug("hashed with bcrypt", "cost", s.users.cost, "took", time.Since(start))
		return err
	})
	return hash, err
}

// checkPassword returns what is wrong with a password, or "" if u may log in.
//
// Each attempt takes 2^cost rounds of bcrypt, so its time tells nothing about the account. For an unknown user, it
// compares a dummy hash. After a hash of a lower cost c, it compares dummy hashes of the costs c to cost-1: together
// 2^cost rounds.
func (s *server) checkPassword(r *http.Request, u user, password string, cost int) (wrong string, err error) {
	hash := []byte(u.HashedPassword)
	if u.ID == 0 {
		hash = dummyHash(cost)
	}
	hashCost, err := bcrypt.Cost(hash)
	if err != nil {
		return "", err
	}
	err = s.withBcryptSlot(r.Context(), func() error {
		start, rounds := time.Now(), 1<<hashCost
		err := bcrypt.CompareHashAndPassword(hash, []byte(password))
		for c := hashCost; c < cost; c++ {
			bcrypt.CompareHashAndPassword(dummyHash(c), []byte(password))
			rounds += 1 << c
		}
		logger(r).Debug("compared with bcrypt", "user_id", u.ID, "rounds", rounds, "took", time.Since(start))
		return err
	})
	mismatch := errors.Is(err, bcrypt.ErrMismatchedHashAndPassword)
	switch {
	case err != nil && !mismatch:
		return "", err
	case u.ID == 0:
		return "unknown user", nil
	case mismatch:
		return "wrong password", nil
	case !u.IsActive:
		return "disabled user", nil
	case len(password) > maxPassword || strings.Contains(password, "\x00") || !utf8.ValidString(password):
		// bcrypt compares 72 bytes, and repeats short keys after a NUL: "abc" and "abc\x00abc" have the same hash.
		return "wrong password, but bcrypt can't tell", nil
	}
	return "", nil
}

// dummyHash returns a bcrypt hash of that cost, of no known password.
func dummyHash(cost int) []byte {
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat(".", 53))
}

// A throttle slows down the guessing of passwords. It counts by account and address, so nobody can lock out a user from
// elsewhere. After maxFailures in a row, one try in each failurePause is left. Unknown accounts count alike.
type throttle struct {
	mu       sync.Mutex // guards accounts
	accounts map[throttleKey]failures
}

// A throttleKey is a digest of account and address: names can be long.
type throttleKey [sha256.Size]byte

type failures struct {
	inARow int
	last   time.Time
}

// newThrottleKey takes http.Request.RemoteAddr. An IPv6 customer has a whole /64, which counts as one address.
// X-Forwarded-For is not read: anybody can send it.
func newThrottleKey(username, remoteAddr string) throttleKey {
	addrPort, _ := netip.ParseAddrPort(remoteAddr)
	addr := addrPort.Addr().Unmap().WithZone("")
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return sha256.Sum256([]byte(addr.String() + " " + fold(username)))
}

// retryAfter returns how long an account must wait for its next try.
func (t *throttle) retryAfter(account throttleKey, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accounts[account].retryAfter(now)
}

func (f failures) retryAfter(now time.Time) time.Duration {
	if f.inARow < maxFailures {
		return 0
	}
	return max(0, f.last.Add(failurePause).Sub(now))
}

// record stores the result of a try. If parallel tries have reached the limit, it returns the wait instead, and the
// result must not be revealed.
func (t *throttle) record(account throttleKey, ok bool, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.accounts[account]
	if wait := before.retryAfter(now); wait > 0 {
		return wait
	}
	if ok {
		delete(t.accounts, account)
		return 0
	}
	if before.inARow == 0 && len(t.accounts) >= maxAccounts {
		clear(t.accounts) // an attacker needs 10,000 hashes for this
	}
	t.accounts[account] = failures{before.inARow + 1, now}
	return 0
}

// A token is a JSON Web Token (RFC 7519): three parts in base64url, with dots between.
//
//	eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9   {"alg":"HS256","typ":"JWT"}
//	.eyJzdWIiOiIxIiwiaWF0IjoxN…             {"sub":"1","iat":1767225600,"exp":1767229200,"pwd":"K5hZ…"}
//	.dBjftJeZ4CVP…                          HMAC-SHA256 of all before this dot
//
// Anybody can read the first two. Only the owner of the key can make the third.

// claims are the payload of a token. Times are in seconds since 1970.
type claims struct {
	Subject     string `json:"sub"` // the user's id
	IssuedAt    int64  `json:"iat"`
	Expires     int64  `json:"exp"`
	Fingerprint string `json:"pwd"`
}

// fingerprint differs after a change of password, and for another user with the same id.
func fingerprint(u user) string {
	digest := sha256.Sum256([]byte(fold(u.Username) + " " + u.HashedPassword))
	return base64.RawURLEncoding.EncodeToString(digest[:8])
}

func signToken(key []byte, c claims) string {
	payload, _ := json.Marshal(c) // can't fail
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) +
		"." + base64.RawURLEncoding.EncodeToString(payload)
	return unsigned + "." + signature(key, unsigned)
}

func signature(key []byte, unsigned string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(unsigned))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// verifyToken returns the claims of a token that was signed with key and has not expired.
//
// The signature comes first: nothing of a forged token is decoded. It is compared as text, because several texts decode
// to the same bytes, and in constant time. The verifier chooses the algorithm, not the token: otherwise "alg":"none"
// would let anybody forge one (RFC 8725 §3.1).
func verifyToken(key []byte, token string, now time.Time) (claims, error) {
	dot := strings.LastIndexByte(token, '.')
	if dot < 0 || !hmac.Equal([]byte(token[dot+1:]), []byte(signature(key, token[:dot]))) {
		return claims{}, errors.New("the signature doesn't fit")
	}
	first, second, _ := strings.Cut(token[:dot], ".")
	var header struct {
		Algorithm string          `json:"alg"`
		Critical  json.RawMessage `json:"crit"` // extensions that must be understood (RFC 7515 §4.1.11)
	}
	var c claims
	if !decodePart(first, &header) || header.Algorithm != "HS256" || header.Critical != nil || !decodePart(second, &c) {
		return claims{}, errors.New("not a JWT with HS256")
	}
	if now.Unix() >= c.Expires { // without exp, it is 0
		return claims{}, errors.New("the token has expired")
	}
	return c, nil
}

func decodePart(part string, into any) bool {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}
