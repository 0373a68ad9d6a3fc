package main

// This file is the flow: sign up, log in, who am I.
//
//   - Sign-up takes JSON and stores a bcrypt hash of the password, never the password.
//   - Log-in takes OAuth 2's password form, compares the password with the hash, and answers with a token: a JSON Web
//     Token that names the user and the time it ends, signed with a key that only this program has.
//   - Whoever shows that token is that user. The guard checks the signature, the time, and that the account is still
//     the one that logged in; there is no session to look up.
//
// The handlers come first; with requireUser and userOf you have seen the whole flow. Below is what they stand on, in the
// order in which they call it: validation, bcrypt and its slots, the throttle, and the token.
//
// Comments call the course whose flow this is, FastAPI's "Signup and Login Endpoints", the lesson.

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/mail"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	minCost, maxCost = 4, 16 // 4 is bcrypt's least, for tests; 16 takes 3 s on a good machine, and most of a minute on a small one

	maxUsername = 64  // characters
	maxEmail    = 254 // characters: what fits into SMTP's path of 256 (RFC 5321 §4.5.3.1.3)
	minPassword = 8   // characters (NIST SP 800-63B §3.1.1.2, beside another factor; 15 where it is the only one)
	maxPassword = 72  // bytes: bcrypt reads no further, so a longer one would be cut without a word

	maxWaiting  = 100             // requests in the line for bcrypt: about what four processors get through in maxWait
	maxWait     = 5 * time.Second // longest stand in that line: people and proxies give up soon after
	busyPause   = 5 * time.Second // after which a client that met a 503 may come back
	freeTries   = 10              // failed log-ins in a row before the throttle sets in (OWASP ASVS asks for some such limit)
	triesPause  = time.Minute     // between two tries from then on: 1,440 guesses a day find no decent password
	maxThrottle = 10_000          // pairs of account and address remembered, about 1 MB
)

const (
	alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

	// usernameCharacters take in e-mail addresses and keep out look-alikes: the Cyrillic а, the zero-width space.
	usernameCharacters = alphanumeric + "._-@+"
)

// A server answers the requests. Its fields are set once, in newServer.
type server struct {
	store    *Store
	log      *slog.Logger
	cost     int           // of new bcrypt hashes: 2^cost rounds
	tokenTTL time.Duration // how long a token is good for
	key      []byte        // signs the tokens
	now      func() time.Time

	mux         *http.ServeMux
	crossOrigin http.CrossOriginProtection
	throttle    throttle
	waiting     chan struct{} // a place for each request that hashes or waits to
	slots       chan struct{} // a place for each that hashes
}

// processors is how many goroutines Go ran at a time when the program began.
var processors = runtime.GOMAXPROCS(0)

func newServer(store *Store, log *slog.Logger, cost int, tokenTTL time.Duration, key []byte) *server {
	s := &server{
		store:    store,
		log:      log,
		cost:     cost,
		tokenTTL: tokenTTL,
		key:      key,
		now:      time.Now,
		throttle: throttle{failed: make(map[pair]failures)},
		waiting:  make(chan struct{}, processors+maxWaiting),
		slots:    make(chan struct{}, processors),
	}
	s.mux = s.routes()
	return s
}

// signup stores a new user: POST /auth/signup with JSON.
func (s *server) signup(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r, "application/json")
	if !ok {
		return
	}
	u, password, faults := parseSignup(body)
	if len(faults) > 0 {
		writeError(w, r, http.StatusUnprocessableEntity, faults)
		return
	}
	if _, taken := s.store.ByName(u.Username); taken { // Create looks again; this spares the hash
		writeError(w, r, http.StatusBadRequest, "Username already exists")
		return
	}
	hash, err := s.hash(r.Context(), password)
	if err != nil {
		writeRetry(w, r, http.StatusServiceUnavailable, "Too busy just now", busyPause)
		return
	}
	u.HashedPassword, u.IsActive = hash, true
	u, err = s.store.Create(u)
	switch {
	case errors.Is(err, ErrExists):
		writeError(w, r, http.StatusBadRequest, "Username already exists")
	case err != nil:
		s.log.Error("sign-up refused", "err", err)
		writeRetry(w, r, http.StatusServiceUnavailable, "Users cannot be stored just now", busyPause)
	default:
		writeJSON(w, http.StatusCreated, struct {
			Message string `json:"message"`
			UserID  int64  `json:"user_id"`
		}{"User created", u.ID})
	}
}

// login exchanges a username and password for a token: POST /auth/login with OAuth 2's password form (RFC 6749 §4.3).
//
// Whatever is wrong with the credentials, the answer is the same, after the same work: otherwise it would tell strangers
// who has an account.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	body, ok := readBody(w, r, "application/x-www-form-urlencoded")
	if !ok {
		return
	}
	username, password, faults, oauthError := parseLogin(body)
	if len(faults) > 0 {
		writeJSON(w, http.StatusUnprocessableEntity, errorBody{faults, oauthError})
		return
	}
	who := pairOf(username, r.RemoteAddr)
	if wait := s.throttle.wait(who, s.now()); wait > 0 {
		writeRetry(w, r, http.StatusTooManyRequests, "Too many failed log-ins", wait)
		return
	}
	start := time.Now()
	u, known := s.store.ByName(username)
	s.log.Debug("looked up the user", "known", known, "user_id", u.ID, "took", time.Since(start))
	ok, err := s.checkPassword(r.Context(), u, password)
	if err != nil {
		writeRetry(w, r, http.StatusServiceUnavailable, "Too busy just now", busyPause)
		return
	}
	if wait := s.throttle.settle(who, ok, s.now()); wait > 0 {
		writeRetry(w, r, http.StatusTooManyRequests, "Too many failed log-ins", wait)
		return
	}
	if !ok {
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
	s.log.Debug("signed a token", "user_id", u.ID, "expires_in", s.tokenTTL)
	writeJSON(w, http.StatusOK, struct {
		Message     string `json:"message"`
		UserID      int64  `json:"user_id"`
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}{"Login successful", u.ID, token, "bearer", int64(s.tokenTTL / time.Second)})
}

// me tells who the bearer of the token is: GET /auth/me. What is shown is a type of its own, without the hash, so that no
// change of the stored one can ever show it.
func (s *server) me(w http.ResponseWriter, r *http.Request, u User) {
	writeJSON(w, http.StatusOK, struct {
		ID       int64  `json:"id"`
		Username string `json:"username"`
		Email    string `json:"email"`
		IsActive bool   `json:"is_active"`
	}{u.ID, u.Username, u.Email, u.IsActive})
}

// requireUser is the guard: it calls next with the user whose token the request bears, or answers 401 itself.
func (s *server) requireUser(next func(http.ResponseWriter, *http.Request, User)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if token = strings.TrimLeft(token, " "); !strings.EqualFold(scheme, "Bearer") || token == "" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="auth"`) // no error= for who sent no token (RFC 6750 §3.1)
			writeError(w, r, http.StatusUnauthorized, "Not authenticated")
			return
		}
		u, err := s.userOf(token)
		if err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="auth", error="invalid_token"`)
			writeError(w, r, http.StatusUnauthorized, "Could not validate credentials")
			return
		}
		s.log.Debug("checked the token", "user_id", u.ID)
		next(w, r, u)
	}
}

// userOf returns the user whom a token speaks for, or errToken. The token says whom it was made for; whether that account
// still stands is asked anew each time, so that disabling or removing a user, or changing the password, ends their tokens
// at once.
func (s *server) userOf(token string) (User, error) {
	c, err := verifyToken(s.key, token, s.now())
	if err != nil {
		return User{}, err
	}
	id, err := strconv.ParseInt(c.Subject, 10, 64)
	if err != nil {
		return User{}, errToken
	}
	u, known := s.store.ByID(id)
	if !known || !u.IsActive || c.Fingerprint != fingerprint(u) {
		return User{}, errToken
	}
	return u, nil
}

// A fault is one thing wrong with the input, in FastAPI's form. It says where and why, and never repeats what was sent.
type fault struct {
	Type string `json:"type"`
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
}

func faultAt(field, kind, msg string) fault { return fault{kind, []any{"body", field}, msg} }

func missing(field string) fault { return faultAt(field, "missing", "Field required") }

// parseSignup returns the user and the password that a sign-up's body asks for, or all its faults.
//
// The members are picked by name. Decoding the body into a User would let a client set its id and is_active too, as it
// can in the lesson's app (mass assignment, OWASP API3:2023).
func parseSignup(body []byte) (u User, password string, faults []fault) {
	var members map[string]json.RawMessage
	err := json.Unmarshal(body, &members)
	var syntax *json.SyntaxError
	switch {
	case len(body) == 0:
		return u, "", []fault{{"missing", []any{"body"}, "Field required"}}
	case !utf8.Valid(body):
		return u, "", []fault{{"json_invalid", []any{"body"}, "JSON decode error: not UTF-8"}}
	case errors.As(err, &syntax):
		return u, "", []fault{{"json_invalid", []any{"body", max(0, syntax.Offset-1)}, "JSON decode error"}}
	case err != nil || members == nil: // an array, a string, null
		return u, "", []fault{{"model_attributes_type", []any{"body"}, "Input should be a valid dictionary or object"}}
	}
	text := func(field string) (string, bool) {
		raw, sent := members[field]
		if !sent {
			faults = append(faults, missing(field))
			return "", false
		}
		var value *string // nil for null
		if json.Unmarshal(raw, &value) != nil || value == nil {
			faults = append(faults, faultAt(field, "string_type", "Input should be a valid string"))
			return "", false
		}
		return *value, true
	}
	if username, ok := text("username"); ok {
		u.Username = username
		faults = append(faults, usernameFaults(username)...)
	}
	if email, ok := text("email"); ok {
		u.Email = email
		faults = append(faults, emailFaults(email)...)
	}
	// The lesson's own request gives the plain password under the name hashed_password; here that is another name for it.
	_, sentHashed := members["hashed_password"]
	_, sentPassword := members["password"]
	field := "password"
	if sentHashed && !sentPassword {
		field = "hashed_password"
	}
	password, ok := text(field)
	if ok {
		faults = append(faults, passwordFaults(field, password)...)
	}
	if sentHashed && sentPassword {
		if other, both := text("hashed_password"); both && ok && other != password {
			faults = append(faults, faultAt("hashed_password", "value_error", "Value should be that of password, or be left out"))
		}
	}
	return u, password, faults
}

func usernameFaults(username string) (faults []fault) {
	if username == "" {
		faults = append(faults, faultAt("username", "string_too_short", "String should have at least 1 character"))
	}
	if utf8.RuneCountInString(username) > maxUsername {
		faults = append(faults, faultAt("username", "string_too_long", fmt.Sprintf("String should have at most %d characters", maxUsername)))
	}
	if strings.Trim(username, usernameCharacters) != "" {
		faults = append(faults, faultAt("username", "string_pattern_mismatch", "String should have only ASCII letters, digits and . _ - @ +"))
	}
	return faults
}

func emailFaults(email string) (faults []fault) {
	if utf8.RuneCountInString(email) > maxEmail {
		faults = append(faults, faultAt("email", "string_too_long", fmt.Sprintf("String should have at most %d characters", maxEmail)))
	}
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	address, err := mail.ParseAddress(email) // also takes "Name <a@b>", comments, and domain literals as in a@[::1]
	if err != nil || address.Address != email || strings.HasSuffix(email, "]") || strings.ContainsFunc(email, unprintable) {
		faults = append(faults, faultAt("email", "value_error", "Value is not a valid email address"))
	}
	return faults
}

func passwordFaults(field, password string) (faults []fault) {
	if utf8.RuneCountInString(password) < minPassword {
		faults = append(faults, faultAt(field, "string_too_short", fmt.Sprintf("String should have at least %d characters", minPassword)))
	}
	if len(password) > maxPassword {
		faults = append(faults, faultAt(field, "string_too_long", fmt.Sprintf("String should have at most %d bytes", maxPassword)))
	}
	// Go's decoder puts U+FFFD in the place of what is no Unicode, such as half a surrogate pair: different passwords
	// would become one.
	if strings.ContainsFunc(password, func(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }) {
		faults = append(faults, faultAt(field, "value_error", "Value should have no control character and be valid Unicode"))
	}
	return faults
}

// parseLogin returns the credentials of a token request's body, or all its faults and OAuth's name for them. What is in
// the query string never gets here: URLs end up in logs and histories.
func parseLogin(body []byte) (username, password string, faults []fault, oauthError string) {
	form, err := url.ParseQuery(string(body))
	if err != nil { // bad %-encoding, or more parameters than the standard library takes
		return "", "", []fault{{"value_error", []any{"body"}, "Value is not a valid form"}}, "invalid_request"
	}
	const repeated = "A parameter should not be repeated" // RFC 6749 §3.2
	parameters := []string{"grant_type", "username", "password", "scope", "client_id", "client_secret"}
	for _, name := range parameters {
		if len(form[name]) > 1 {
			faults = append(faults, faultAt(name, "value_error", repeated))
		}
	}
	for name, values := range form {
		if len(values) > 1 && !slices.Contains(parameters, name) { // such a name is the client's own text
			faults = append(faults, fault{"value_error", []any{"body"}, repeated})
			break
		}
	}
	username, password = form.Get("username"), form.Get("password")
	if username == "" {
		faults = append(faults, missing("username"))
	}
	if password == "" {
		faults = append(faults, missing("password"))
	}
	if grant := form.Get("grant_type"); grant != "" && grant != "password" {
		faults = append(faults, faultAt("grant_type", "string_pattern_mismatch", "String should match pattern '^password$'"))
		return "", "", faults, "unsupported_grant_type"
	}
	return username, password, faults, "invalid_request"
}

// inSlot runs work, which hashes, in one of as many slots as there are processors.
//
// bcrypt is slow on purpose: a fifth of a second of pure computing at cost 12. Were each request to hash as it comes, 32
// of them would share two processors with everything else, and nobody would get an answer for seconds. So they stand in
// line. More hashes at a time would finish no sooner; and since serve gives the Go scheduler one place (a "P") more than
// there are slots, a request that doesn't hash always finds one free.
//
// The line is bounded: past maxWaiting requests or maxWait, an error says so at once, since an answer that comes after
// its client has given up costs as much as one in time. A client that hangs up leaves the line.
func (s *server) inSlot(ctx context.Context, work func()) error {
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return errors.New("too many requests wait for bcrypt")
	}
	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	work()
	return nil
}

// hash returns the bcrypt hash of a password that passwordFaults found good. Its only error is that it can't be had now.
func (s *server) hash(ctx context.Context, password string) (string, error) {
	var hash []byte
	var err error
	busy := s.inSlot(ctx, func() {
		start := time.Now()
		hash, err = bcrypt.GenerateFromPassword([]byte(password), s.cost)
		s.log.Debug("hashed with bcrypt", "cost", s.cost, "took", time.Since(start))
	})
	return string(hash), cmp.Or(busy, err)
}

// checkPassword reports whether password is that of u, and u may log in. Its only error is that it can't tell now.
//
// Every "no" takes 2^cost rounds of bcrypt, whatever the reason: an unknown user (the zero User) has a decoy for a hash,
// and where the stored hash is of a lower cost c, decoys of the costs c, c+1, … cost-1 make up for it:
// 2^c + 2^c + 2^(c+1) + … + 2^(cost-1) = 2^cost. A hash of a higher cost than today's still shows, by its longer time.
func (s *server) checkPassword(ctx context.Context, u User, password string) (ok bool, err error) {
	hash := []byte(u.HashedPassword)
	if len(hash) == 0 {
		hash = decoy(s.cost)
	}
	cost, err := bcrypt.Cost(hash)
	if err != nil {
		return false, err // not to be had: the store takes in no such hash
	}
	err = s.inSlot(ctx, func() {
		start, rounds := time.Now(), 0
		same := func(hash []byte, cost int) bool {
			rounds += 1 << cost
			return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
		}
		// bcrypt compares the first 72 bytes, and repeats a short key with a NUL between: "abc" and "abc\x00abc" hash alike.
		// No sign-up admits such passwords, so whoever sends one is not the user.
		whole := len(password) <= maxPassword && !strings.Contains(password, "\x00") && utf8.ValidString(password)
		ok = same(hash, cost) && whole && u.IsActive
		for c := cost; !ok && c < s.cost; c++ {
			same(decoy(c), c)
		}
		s.log.Debug("compared with bcrypt", "cost", cost, "rounds", rounds, "took", time.Since(start))
	})
	return ok, err
}

// decoy returns a bcrypt hash that costs as much to compare with as any other of its cost, and is the hash of no password
// that anybody knows.
func decoy(cost int) []byte {
	return fmt.Appendf(nil, "$2a$%02d$%s", cost, strings.Repeat(".", 53))
}

// A throttle slows down the guessing of passwords: after freeTries failures in a row, an account gets one try a
// triesPause from that address. Unknown accounts count like others, so it tells nobody who exists. It counts by account
// and address, not by account alone, so that nobody can lock out a user from elsewhere.
type throttle struct {
	mu     sync.Mutex // guards failed
	failed map[pair]failures
}

// A pair is a digest of account and address: of one size, however long the name that a stranger sends.
type pair [sha256.Size]byte

type failures struct {
	inARow int
	last   time.Time
}

// pairOf takes an address as in http.Request.RemoteAddr. An IPv6 customer has at least a /64 to send from, so that is
// what counts as one address. X-Forwarded-For isn't asked: anybody can send it.
func pairOf(username, remoteAddr string) pair {
	addrPort, _ := netip.ParseAddrPort(remoteAddr)
	addr := addrPort.Addr().Unmap().WithZone("")
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return sha256.Sum256([]byte(addr.String() + " " + fold(username)))
}

// wait returns how long p must wait for its next try.
func (t *throttle) wait(p pair, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed[p].wait(now)
}

func (f failures) wait(now time.Time) time.Duration {
	if f.inARow < freeTries {
		return 0
	}
	return max(0, f.last.Add(triesPause).Sub(now))
}

// settle takes note of how a try of p went, unless other tries that ran beside it have used up what p may: then it
// returns how long p must wait, and neither yes nor no may be answered.
func (t *throttle) settle(p pair, ok bool, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := t.failed[p].wait(now); wait > 0 {
		return wait
	}
	if ok {
		delete(t.failed, p)
		return 0
	}
	if _, there := t.failed[p]; !there && len(t.failed) >= maxThrottle {
		t.forgetOldest()
	}
	t.failed[p] = failures{t.failed[p].inARow + 1, now}
	return 0
}

// forgetOldest makes room. Looking through all takes less than a thousandth of the hash that came before.
func (t *throttle) forgetOldest() {
	var oldest pair
	var last time.Time
	for p, f := range t.failed {
		if last.IsZero() || f.last.Before(last) {
			oldest, last = p, f.last
		}
	}
	delete(t.failed, oldest)
}

// A token is a JSON Web Token (RFC 7519) signed with HMAC-SHA256: three parts in base64url, with dots between.
//
//	eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9        {"alg":"HS256","typ":"JWT"}
//	.eyJzdWIiOiIxIiwiaWF0IjoxN…                  {"sub":"1","iat":1767225600,"exp":1767229200,"pwd":"K5hZ…"}
//	.dBjftJeZ4CVP…                               HMAC-SHA256 of all that stands before this dot
//
// Anybody can read the first two; only who has the key can make the third.

// claims is the payload of a token. Times are in seconds since 1970.
type claims struct {
	Subject     string `json:"sub"` // the user's id
	IssuedAt    int64  `json:"iat"`
	Expires     int64  `json:"exp"` // from this second on the token is void
	Fingerprint string `json:"pwd"` // of the account, as it was
}

// fingerprint tells one state of an account from another: a new password, or another user under the same id, has another
// one. It tells nothing about the hash, of which it shows 64 bits of a digest.
func fingerprint(u User) string {
	digest := sha256.Sum256([]byte(fold(u.Username) + " " + u.HashedPassword))
	return base64.RawURLEncoding.EncodeToString(digest[:8])
}

// errToken says that a token is not one of ours, or no longer good. Which, is nobody's business.
var errToken = errors.New("invalid token")

// signToken makes a token of c.
func signToken(key []byte, c claims) string {
	payload, _ := json.Marshal(c) // strings and numbers: can't fail
	unsigned := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) +
		"." + base64.RawURLEncoding.EncodeToString(payload)
	return unsigned + "." + signature(key, unsigned)
}

// signature is the third part of a token.
func signature(key []byte, unsigned string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(unsigned))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// verifyToken returns the claims of a token that was signed with key and is still good at that time, or errToken.
//
// The signature comes first: nothing of a forgery is ever decoded. It is compared as text, since the last of its 43
// characters has two idle bits, so that four spellings decode to the same bytes; and in a time that doesn't tell how
// much of it is right. The algorithm is ours, not the token's to choose: "alg":"none" has opened many a door (RFC 8725
// §3.1).
func verifyToken(key []byte, token string, now time.Time) (claims, error) {
	lastDot := strings.LastIndexByte(token, '.')
	if lastDot < 0 {
		return claims{}, errToken
	}
	unsigned := token[:lastDot]
	if !hmac.Equal([]byte(token[lastDot+1:]), []byte(signature(key, unsigned))) {
		return claims{}, errToken
	}
	var header struct {
		Algorithm string          `json:"alg"`
		Critical  json.RawMessage `json:"crit"` // extensions that must be understood, and we know none (RFC 7515 §4.1.11)
	}
	var c claims
	first, second, _ := strings.Cut(unsigned, ".")
	if !decodePart(first, &header) || header.Algorithm != "HS256" || header.Critical != nil || !decodePart(second, &c) {
		return claims{}, errToken
	}
	if now.Unix() >= c.Expires { // a token without exp ended in 1970
		return claims{}, errToken
	}
	return c, nil
}

// decodePart decodes one part of a token, of the one spelling that base64url without padding has.
func decodePart(part string, into any) bool {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}
