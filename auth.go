package main

// This file is the flow: sign up, log in, who am I.
//
//   - Sign-up stores a bcrypt hash of the password, and never the password.
//   - Log-in compares a password with that hash. The answer has a token, which names the user and
//     is signed with a key that only this program has.
//   - A request with that token is a request of that user. The server keeps no sessions.
//
// After userOf you know the flow. Below it are its parts, in this order: errors and answers, what a
// request may send, passwords, tokens, the throttle, the log. "The lesson" is FastAPI's "Signup and
// Login Endpoints".

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
	"regexp"
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
	maxBody     = 64 << 10 // bytes: more than any sign-up or log-in needs
	maxUsername = 64       // characters
	maxEmail    = 254      // characters (RFC 5321 §4.5.3.1.3)
	minPassword = 8        // characters; NIST SP 800-63B asks for 15 if there is no second factor
	maxPassword = 72       // bytes: bcrypt reads no further

	busyPause    = 5 * time.Second // in Retry-After of a 503
	maxFailures  = 10              // failed log-ins in a row before the throttle starts
	failurePause = time.Minute     // from then on, between two tries: 1,440 a day
	maxAttempts  = 10_000          // pairs that the throttle remembers: about 1 MB

	bearerChallenge = `Bearer realm="auth"` // in WWW-Authenticate of a 401: send a token of ours
)

// ---- The flow ----

// A server has the handlers of /auth/.
type server struct {
	store    *store
	key      []byte // signs the tokens
	tokenTTL time.Duration
	now      func() time.Time // time.Now; a test sets another clock
	throttle *throttle
	hashing  *semaphore // with one slot for each processor
}

var processors = runtime.GOMAXPROCS(0) // 0 only asks for the number

func newServer(st *store, key []byte, tokenTTL time.Duration) *server {
	return &server{
		store:    st,
		key:      key,
		tokenTTL: tokenTTL,
		now:      time.Now,
		throttle: &throttle{failures: make(map[throttleKey]failures)},
		hashing:  newSemaphore(processors),
	}
}

// signup stores a new user: POST /auth/signup with JSON.
func (s *server) signup(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(r, "application/json")
	if err != nil {
		return err
	}
	request, faults := parseSignup(body)
	if faults != nil {
		return refuse(http.StatusUnprocessableEntity, faults) // 422
	}

	// Hash the password. (We hash even if the name is taken: only create, below, finds that out.)
	hash, err := s.hash(r.Context(), request.password)
	if err != nil {
		return err
	}

	// Store the user. Members such as id and is_active are ours to choose, not the client's.
	start := time.Now()
	id, err := s.store.create(r.Context(), user{
		Username: request.username, Email: request.email, HashedPassword: hash, IsActive: true,
	})
	switch {
	case errors.Is(err, errExists):
		return refuse(http.StatusBadRequest, "Username already exists")
	case errors.Is(err, errBusy), errors.Is(err, context.Canceled): // it waited for other saves
		return err
	case err != nil:
		logger(r.Context()).Error("the sign-up failed", "err", err)
		return refuse(http.StatusServiceUnavailable, "Users cannot be stored just now").
			with("Retry-After", seconds(busyPause))
	}

	logger(r.Context()).Debug("saved the user", "user_id", id, "took", time.Since(start))
	return writeJSON(w, http.StatusCreated, signupResponse{"User created", id})
}

type signupResponse struct {
	Message string `json:"message"`
	UserID  int64  `json:"user_id"`
}

// login exchanges a username and a password for a token: POST /auth/login with the password form of
// OAuth 2 (RFC 6749 §4.3).
//
// A stranger must not learn who has an account. So the answer to every wrong username or password
// is the same, and so is the work for it. (A sign-up does tell: it says that a name is taken.)
func (s *server) login(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(r, "application/x-www-form-urlencoded")
	if err != nil {
		return err
	}
	request, err := parseLogin(body)
	if err != nil {
		return err
	}

	// Sign-up refuses such a password, so no user has it. We can refuse at once: this says nothing
	// about the account.
	if !possiblePassword(request.password) {
		return refuse(http.StatusUnauthorized, "Invalid credentials").
			withOAuth("invalid_grant").because("no user can have this password")
	}

	// Too many failures lately? Say so before bcrypt runs, which is the expensive part.
	key := newThrottleKey(request.username, r.RemoteAddr)
	if wait := s.throttle.wait(key, s.now()); wait > 0 {
		return refuse(http.StatusTooManyRequests, "Too many failed log-ins").
			with("Retry-After", seconds(wait))
	}

	// Compare the password with the hash.
	u, reason, err := s.checkPassword(r.Context(), request)
	if err != nil {
		return err
	}

	// If a hundred tries come at the same time, all of them pass the check above. So record checks
	// again: only the first ten get their result.
	if wait := s.throttle.record(key, u != nil, s.now()); wait > 0 {
		return refuse(http.StatusTooManyRequests, "Too many failed log-ins").
			with("Retry-After", seconds(wait))
	}
	if u == nil {
		return refuse(http.StatusUnauthorized, "Invalid credentials").
			withOAuth("invalid_grant").because(reason)
	}

	token := s.newToken(u)
	logger(r.Context()).Debug("right password: signed a token",
		"user_id", u.ID, "expires_in", s.tokenTTL)
	return writeJSON(w, http.StatusOK, loginResponse{
		Message:     "Login successful",
		UserID:      u.ID,
		AccessToken: token,
		TokenType:   "bearer",
		ExpiresIn:   int64(s.tokenTTL / time.Second),
	})
}

type loginResponse struct {
	Message     string `json:"message"`
	UserID      int64  `json:"user_id"`
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

// me tells whose token it is: GET /auth/me.
func (s *server) me(w http.ResponseWriter, r *http.Request, u *user) error {
	return writeJSON(w, http.StatusOK, userResponse{u.ID, u.Username, u.Email, u.IsActive})
}

// A userResponse is what a client may see of a user. It has no hash, so none can be shown.
type userResponse struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
	Email    string `json:"email"`
	IsActive bool   `json:"is_active"`
}

// A userHandler is an apiHandler that also gets the user who sends the request.
type userHandler func(http.ResponseWriter, *http.Request, *user) error

// requireUser returns a handler that calls next with the user of the request's token. In Python it
// would be a decorator.
func (s *server) requireUser(next userHandler) apiHandler {
	return func(w http.ResponseWriter, r *http.Request) error {
		// Take the token from "Authorization: Bearer eyJhbGci…".
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		token = strings.TrimLeft(token, " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return refuse(http.StatusUnauthorized, "Not authenticated")
		}

		// Find its user. The client is not told what is wrong with a token. (RFC 6750 §3.1)
		u, err := s.userOf(token)
		if err != nil {
			return refuse(http.StatusUnauthorized, "Could not validate credentials").
				with("WWW-Authenticate", bearerChallenge+`, error="invalid_token"`).
				because(err.Error())
		}

		logger(r.Context()).Debug("accepted the token", "user_id", u.ID)
		return next(w, r, u)
	}
}

// userOf returns the user of a token. It looks at the account at each request. If the user is
// disabled, removed or renamed, or has a new password, the old token is no longer valid.
func (s *server) userOf(token string) (*user, error) {
	// Have we signed it? Then its subject is an id, such as "1".
	c, err := verifyToken(s.key, token, s.now())
	if err != nil {
		return nil, err
	}
	id, err := strconv.ParseInt(c.Subject, 10, 64)
	if err != nil {
		return nil, errors.New("sub is not the id of a user")
	}

	// Is it still the account that logged in?
	u := s.store.current().byID[id]
	switch {
	case u == nil:
		return nil, errors.New("the user was removed")
	case !u.IsActive:
		return nil, errors.New("the user is disabled")
	case c.Fingerprint != fingerprint(u):
		return nil, errors.New("the user's name or password has changed since")
	}
	return u, nil
}

// ---- Errors and answers ----

// An apiHandler returns an error where the lesson raises an HTTPException.
type apiHandler func(http.ResponseWriter, *http.Request) error

// ServeHTTP calls h and answers its error. With this method, an apiHandler is an http.Handler.
func (h apiHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		writeError(w, r, err)
	}
}

// An httpError is an answer that refuses a request, like FastAPI's HTTPException. As a Python
// exception does, it knows the line that raised it. With -v, the log names that line.
type httpError struct {
	status int         // 400
	detail any         // for the client: "Username already exists", or faults
	header http.Header // Retry-After: 60
	oauth  string      // RFC 6749 §5.2 has names for some errors of a log-in: "invalid_grant"
	reason string      // for the log, not for the client: "unknown user"
	line   uintptr     // of the source: where refuse was called
}

func (e *httpError) Error() string { return fmt.Sprint(e.status, " ", e.detail) }

// refuse makes the error that the lesson makes with HTTPException(status_code=400, detail="…").
func refuse(status int, detail any) *httpError {
	var callers [1]uintptr
	runtime.Callers(2, callers[:]) // leaves out two: Callers itself, and refuse
	return &httpError{status: status, detail: detail, header: http.Header{}, line: callers[0]}
}

// with adds a header to the answer.
func (e *httpError) with(name, value string) *httpError {
	e.header.Set(name, value)
	return e
}

// withOAuth adds the name that OAuth 2 has for the error.
func (e *httpError) withOAuth(name string) *httpError {
	e.oauth = name
	return e
}

// because adds what only the log may say.
func (e *httpError) because(reason string) *httpError {
	e.reason = reason
	return e
}

// seconds writes a time as Retry-After wants it: in whole seconds, not too few.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

// writeError answers a request with an error, and logs it.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	refusal := refusalOf(err)
	refusal.log(r.Context())

	if refusal.status == http.StatusUnauthorized { // each 401 has this header (RFC 9110 §15.5.2)
		w.Header().Set("WWW-Authenticate", bearerChallenge)
	}
	for name := range refusal.header {
		w.Header().Set(name, refusal.header.Get(name))
	}
	writeJSON(w, refusal.status, struct {
		Detail any    `json:"detail"`
		Error  string `json:"error,omitempty"`
	}{refusal.detail, refusal.oauth})
}

const statusClientClosedRequest = 499 // nginx logs this number; nobody is there to read the answer

// refusalOf returns the answer to an error. Most errors are an answer already, made by refuse.
func refusalOf(err error) *httpError {
	if refusal, ok := errors.AsType[*httpError](err); ok {
		return refusal
	}
	if errors.Is(err, errBusy) { // too many requests wait for a slot, or this one did too long
		return refuse(http.StatusServiceUnavailable, "Too busy just now").
			with("Retry-After", seconds(busyPause)).because(err.Error())
	}
	if errors.Is(err, context.Canceled) {
		return refuse(statusClientClosedRequest, "Client closed request").
			because("the client hung up while it waited for a slot")
	}
	return refuse(http.StatusInternalServerError, "Internal Server Error").because(err.Error())
}

// log writes the refusal into the log, with the line that called refuse. (Debug and Error would
// name their own line, so this makes the record by hand.)
func (e *httpError) log(ctx context.Context) {
	level := slog.LevelDebug
	if e.status == http.StatusInternalServerError { // a bug: log it without -v too
		level = slog.LevelError
	}
	log := logger(ctx)
	if !log.Enabled(ctx, level) {
		return
	}

	record := slog.NewRecord(time.Now(), level, "refused the request", e.line)
	record.Add("status", e.status, "detail", e.detail)
	if e.reason != "" {
		record.Add("reason", e.reason)
	}
	log.Handler().Handle(ctx, record)
}

// writeJSON answers with v as JSON.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text) // an error means that the client has gone
	return nil
}

// ---- What a request may send ----

// readBody returns the body, if it has this media type and is not too large.
func readBody(r *http.Request, mediaType string) ([]byte, error) {
	// ParseMediaType cuts off what may follow: application/json; charset=utf-8.
	sent, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || sent != mediaType {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type must be "+mediaType)
	}

	// Read one byte more than is allowed: if it comes, the body is too large. If the header says
	// that already, don't read at all.
	var body []byte
	if r.ContentLength <= maxBody {
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	}
	if r.ContentLength > maxBody || len(body) > maxBody {
		return nil, refuse(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("Body must be at most %d bytes", maxBody)).
			with("Connection", "close") // nobody reads the rest
	}

	// The client hung up, was too slow, or sent a broken chunk.
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "Body could not be read to its end")
	}
	return body, nil
}

// A fault is one thing that is wrong with the input, in FastAPI's form. It doesn't repeat the input,
// which may be a password.
//
//	{"type":"missing","loc":["body","password"],"msg":"Field required"}
type fault struct {
	Type string `json:"type"`
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
}

// faults are all that is wrong with a request. nil means that nothing is wrong.
type faults []fault

// require adds a fault of a field, unless ok.
func (f *faults) require(ok bool, field, kind, msg string) {
	if !ok {
		*f = append(*f, fault{kind, []any{"body", field}, msg})
	}
}

// String writes the faults into the log as the client sees them.
func (f faults) String() string {
	text, _ := json.Marshal([]fault(f)) // can't fail: strings and numbers
	return string(text)
}

// A signupRequest is what a client may choose. It is another type than user: otherwise clients
// could set id and is_active, as in the lesson (mass assignment, OWASP API3:2023).
type signupRequest struct {
	username, email, password string
}

// parseSignup returns the request, or all its faults, not only the first one.
func parseSignup(body []byte) (signupRequest, faults) {
	members, wrong := parseObject(body)
	if wrong != nil {
		return signupRequest{}, wrong
	}
	username, wrong1 := parseUsername(members)
	email, wrong2 := parseEmail(members)
	password, wrong3 := parsePassword(members)
	return signupRequest{username, email, password}, slices.Concat(wrong1, wrong2, wrong3)
}

// parseObject returns the members of a JSON object. It uses a map, because a struct would also take
// a member Username for username.
func parseObject(body []byte) (map[string]any, faults) {
	var value any
	err := json.Unmarshal(body, &value)
	syntax, wrongSyntax := errors.AsType[*json.SyntaxError](err)
	members, isObject := value.(map[string]any)

	whole := []any{"body"}
	switch {
	case len(body) == 0:
		return nil, faults{{"missing", whole, "Field required"}}
	case !utf8.Valid(body):
		return nil, faults{{"json_invalid", whole, "JSON decode error: not UTF-8"}}
	case wrongSyntax:
		position := max(0, syntax.Offset-1) // FastAPI counts from 0
		return nil, faults{{"json_invalid", []any{"body", position}, "JSON decode error"}}
	case !isObject: // an array, a string, null
		const msg = "Input should be a valid dictionary or object"
		return nil, faults{{"model_attributes_type", whole, msg}}
	}
	return members, nil
}

// parseText returns a member that must be a string. If it is none, that is its only fault.
func parseText(members map[string]any, field string) (text string, wrong faults) {
	value, sent := members[field]
	text, isText := value.(string)
	if !sent {
		wrong.require(false, field, "missing", "Field required")
	} else if !isText { // a number, null, …
		wrong.require(false, field, "string_type", "Input should be a valid string")
	}
	return text, wrong
}

// usernamePattern allows e-mail addresses, but no look-alikes such as the Cyrillic а.
var usernamePattern = regexp.MustCompile(`^[A-Za-z0-9._@+-]*$`)

func parseUsername(members map[string]any) (string, faults) {
	name, wrong := parseText(members, "username")
	if wrong != nil {
		return "", wrong
	}
	wrong.require(name != "", "username", "string_too_short",
		"String should have at least 1 character")
	wrong.require(utf8.RuneCountInString(name) <= maxUsername, "username", "string_too_long",
		fmt.Sprintf("String should have at most %d characters", maxUsername))
	wrong.require(usernamePattern.MatchString(name), "username", "string_pattern_mismatch",
		"String should have only ASCII letters, digits and . _ - @ +")
	return name, wrong
}

func parseEmail(members map[string]any) (string, faults) {
	email, wrong := parseText(members, "email")
	if wrong != nil {
		return "", wrong
	}
	wrong.require(utf8.RuneCountInString(email) <= maxEmail, "email", "string_too_long",
		fmt.Sprintf("String should have at most %d characters", maxEmail))
	wrong.require(isEmail(email), "email", "value_error", "Value is not a valid email address")
	return email, wrong
}

// isEmail reports whether text is one bare address. ParseAddress also takes "Enrico <e@b>", whose
// address is only a part of the text, and e@[127.0.0.1].
func isEmail(text string) bool {
	address, err := mail.ParseAddress(text)
	notPrintable := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	return err == nil && address.Address == text &&
		!strings.HasSuffix(text, "]") && !strings.ContainsFunc(text, notPrintable)
}

// parsePassword returns the password. The lesson's request calls it hashed_password, so that is its
// second name. If both are sent, they must be equal.
func parsePassword(members map[string]any) (string, faults) {
	_, first := members["password"]
	_, second := members["hashed_password"]
	if second && !first {
		return parsePasswordAs("hashed_password", members)
	}
	password, wrong := parsePasswordAs("password", members)
	if !second {
		return password, wrong
	}

	// Compare them only if both are strings: one thing that is wrong is one fault.
	other, wrongOther := parseText(members, "hashed_password")
	bothText := password != "" && wrongOther == nil
	wrong = append(wrong, wrongOther...)
	wrong.require(!bothText || other == password, "hashed_password", "value_error",
		"Value should be that of password, or be left out")
	return password, wrong
}

// parsePasswordAs returns the password in this field, or "" if it is no string.
func parsePasswordAs(field string, members map[string]any) (string, faults) {
	password, wrong := parseText(members, field)
	if wrong != nil {
		return "", wrong
	}
	wrong.require(utf8.RuneCountInString(password) >= minPassword, field, "string_too_short",
		fmt.Sprintf("String should have at least %d characters", minPassword))
	wrong.require(len(password) <= maxPassword, field, "string_too_long",
		fmt.Sprintf("String should have at most %d bytes", maxPassword))

	// JSON may write an emoji as two halves: "\ud83d\ude00". Go turns half of one into U+FFFD,
	// whichever it was, so two different passwords would become equal.
	half := strings.ContainsRune(password, utf8.RuneError)
	wrong.require(!half && !strings.ContainsFunc(password, unicode.IsControl), field, "value_error",
		"Value should have no control character and be valid Unicode")
	return password, wrong
}

type loginRequest struct {
	username, password string
}

// parseLogin reads the form of a log-in. It doesn't read the query string: URLs end up in logs.
func parseLogin(body []byte) (loginRequest, error) {
	// A form is split at &. ParseQuery refuses a semicolon, which curl -d sends as it is: encode it.
	form, err := url.ParseQuery(strings.ReplaceAll(string(body), ";", "%3B"))
	if err != nil { // wrong %-encoding, or too many parameters
		wrong := faults{{"value_error", []any{"body"}, "Value is not a valid form"}}
		return loginRequest{}, refuse(http.StatusUnprocessableEntity, wrong).
			withOAuth("invalid_request")
	}

	// None of these may be repeated (RFC 6749 §3.2). Other parameters are ignored.
	var wrong faults
	for _, name := range []string{
		"grant_type", "username", "password", "scope", "client_id", "client_secret",
	} {
		wrong.require(len(form[name]) <= 1, name, "value_error",
			"A parameter should not be repeated")
	}
	username, password := form.Get("username"), form.Get("password")
	wrong.require(username != "", "username", "missing", "Field required")
	wrong.require(password != "", "password", "missing", "Field required")

	// OAuth 2 has other grants than the password, such as authorization_code. They are not for us.
	oauth, grant := "invalid_request", form.Get("grant_type")
	if grant != "" && grant != "password" {
		oauth = "unsupported_grant_type"
		wrong.require(false, "grant_type", "string_pattern_mismatch",
			"String should match pattern '^password$'")
	}
	if wrong != nil {
		return loginRequest{}, refuse(http.StatusUnprocessableEntity, wrong).withOAuth(oauth)
	}
	return loginRequest{username, password}, nil
}

// ---- Passwords ----
//
// bcrypt is slow on purpose, so that guessing is slow: at cost 12 it takes a fifth of a second. One
// more doubles that: it does 2^cost rounds. If 32 requests hashed at the same time, all of them
// would wait for seconds, and none would be done sooner. So there is a slot for each processor, and
// a request waits for one.

// hash returns the bcrypt hash of a password. The error may be one of acquire's.
func (s *server) hash(ctx context.Context, password string) (string, error) {
	release, err := s.hashing.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()

	start := time.Now()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), s.store.cost)
	logger(ctx).Debug("hashed with bcrypt", "cost", s.store.cost, "took", time.Since(start))
	return string(hash), err
}

// possiblePassword reports whether a sign-up could have taken a password. bcrypt reads 72 bytes. It
// repeats a shorter password, with a zero byte after each copy. So abc and abc\0abc have one hash.
func possiblePassword(password string) bool {
	return len(password) <= maxPassword && !strings.Contains(password, "\x00")
}

// checkPassword returns the user who may log in with this name and password. If there is none, it
// returns nil and the reason, for the log. The error may be one of acquire's.
func (s *server) checkPassword(ctx context.Context, request loginRequest) (
	u *user, reason string, err error) {
	release, err := s.hashing.acquire(ctx)
	if err != nil {
		return nil, "", err
	}
	defer release()

	// Find the user, and compare the password. If nobody has the name, there is no hash.
	users := s.store.current()
	hash := ""
	if u = users.named(request.username); u != nil {
		hash = u.HashedPassword
	}
	start := time.Now()
	match, rounds := compare(hash, request.password, users.highestCost)
	logger(ctx).Debug("compared with bcrypt", "rounds", rounds, "took", time.Since(start))

	switch {
	case u == nil:
		return nil, "unknown user", nil
	case !match:
		return nil, "wrong password", nil
	case !u.IsActive:
		return nil, "disabled user", nil
	}
	return u, "", nil
}

// compare reports whether a password has this hash. An empty hash has no password.
//
// It does 2^cost rounds in any case, so its time says nothing about the hash. If the hash has a
// lower cost, or is empty, it hashes the password a few times more, for nothing:
//
//	hash of cost 12: 2^12 rounds
//	hash of cost 10: 2^10 rounds, then 2^10 + 2^11 for nothing: together 2^12
//	no hash:         2^12 rounds for nothing
func compare(hash, password string, cost int) (match bool, rounds int) {
	if hash == "" {
		bcrypt.GenerateFromPassword([]byte(password), cost)
		return false, 1 << cost
	}

	match = bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	hashCost, _ := bcrypt.Cost([]byte(hash)) // no error: it is a hash
	rounds = 1 << hashCost                   // 2^hashCost
	for c := hashCost; c < cost; c++ {
		bcrypt.GenerateFromPassword([]byte(password), c)
		rounds += 1 << c
	}
	return match, rounds
}

// ---- Tokens ----
//
// A token is a JSON Web Token (RFC 7519): three parts in base64url, with dots between.
//
//	eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9   {"alg":"HS256","typ":"JWT"}
//	.eyJzdWIiOiIxIiwiaWF0IjoxN…             {"sub":"1","iat":1767225600,"exp":1767229200,"pwd":…}
//	.dBjftJeZ4CVP…                          HMAC-SHA256 of all before this dot
//
// Anybody can read the first two. Only the owner of the key can make the third. We make and check
// tokens by hand, so that nothing is hidden. A real program takes a library.

const tokenHeader = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9" // the first part of every token of ours

// claims are the second part. Times are in seconds since 1970.
type claims struct {
	Subject     string `json:"sub"` // the user's id
	IssuedAt    int64  `json:"iat"`
	Expires     int64  `json:"exp"`
	Fingerprint string `json:"pwd"` // of the name and the password hash
}

// fingerprint changes if the name or the password changes. So a token is no longer valid if
// somebody edits the file and gives its id to another user.
func fingerprint(u *user) string {
	digest := sha256.Sum256([]byte(fold(u.Username) + " " + u.HashedPassword))
	return base64.RawURLEncoding.EncodeToString(digest[:8])
}

// newToken returns a token for u that is good from now on for tokenTTL.
func (s *server) newToken(u *user) string {
	now := s.now()
	return signToken(s.key, claims{
		Subject:     strconv.FormatInt(u.ID, 10),
		IssuedAt:    now.Unix(),
		Expires:     now.Add(s.tokenTTL).Unix(),
		Fingerprint: fingerprint(u),
	})
}

func signToken(key []byte, c claims) string {
	payload, _ := json.Marshal(c) // can't fail: strings and numbers
	unsigned := tokenHeader + "." + base64.RawURLEncoding.EncodeToString(payload)
	return unsigned + "." + signature(key, unsigned)
}

// signature returns the third part of a token whose first two parts are unsigned.
func signature(key []byte, unsigned string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(unsigned))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// verifyToken returns the claims of a token that is signed with key and has not expired.
func verifyToken(key []byte, token string, now time.Time) (claims, error) {
	// The token doesn't choose how it is checked: with "alg":"none", anybody could make one
	// (RFC 8725 §3.1). So we take only the header that we write ourselves.
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[0] != tokenHeader {
		return claims{}, errors.New("it doesn't have three parts, or has another header than ours")
	}

	// Check the signature before anything is decoded. hmac.Equal takes the same time wherever the
	// texts differ. With ==, somebody could guess one character after the other.
	want := signature(key, parts[0]+"."+parts[1])
	if !hmac.Equal([]byte(parts[2]), []byte(want)) {
		return claims{}, errors.New("the signature doesn't fit")
	}

	var c claims
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &c) != nil {
		return claims{}, errors.New("the claims can't be read")
	}
	if now.Unix() >= c.Expires { // a token without exp has Expires 0
		return claims{}, errors.New("the token has expired")
	}
	return c, nil
}

// ---- The throttle ----

// A throttle slows down the guessing of passwords. After maxFailures in a row, only one try in each
// failurePause is left, until one succeeds. It counts by name and address, so nobody can lock a user
// out from elsewhere. A name that nobody has is counted in the same way.
type throttle struct {
	mu       sync.Mutex // guards failures
	failures map[throttleKey]failures
}

// A throttleKey is a digest of name and address: a client may send a name of 64 KiB.
type throttleKey [sha256.Size]byte

type failures struct {
	inARow int
	last   time.Time
}

// newThrottleKey takes an address such as 192.0.2.1:51234. A customer with IPv6 has all addresses
// that begin with the same 64 bits, so 2001:db8::1 and 2001:db8::2 are one. X-Forwarded-For is not
// read: anybody can send it.
func newThrottleKey(username, remoteAddr string) throttleKey {
	addrPort, _ := netip.ParseAddrPort(remoteAddr)
	addr := addrPort.Addr().Unmap() // 192.0.2.1 for ::ffff:192.0.2.1
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return sha256.Sum256([]byte(addr.String() + " " + fold(username)))
}

// wait returns how long the next try must wait.
func (t *throttle) wait(key throttleKey, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures[key].wait(now)
}

func (f failures) wait(now time.Time) time.Duration {
	if f.inARow < maxFailures {
		return 0
	}
	return max(0, f.last.Add(failurePause).Sub(now))
}

// record counts the result of a try. If other tries have reached the limit in the meantime, it
// doesn't count this one and returns the time to wait. Then the client must not learn whether the
// password was right.
func (t *throttle) record(key throttleKey, ok bool, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.failures[key]
	if wait := before.wait(now); wait > 0 {
		return wait
	}
	if ok {
		delete(t.failures, key)
		return 0
	}

	// Is there no room for one more? Then forget all. For that an attacker pays 10,000 bcrypt runs.
	isNew := before.inARow == 0
	if isNew && len(t.failures) >= maxAttempts {
		clear(t.failures)
	}
	t.failures[key] = failures{before.inARow + 1, now}
	return 0
}

// ---- The log of a request ----

// loggerKey is the key of a value in a context. It has a type of its own, so no other package can
// use the same key.
type loggerKey struct{}

// withLogger returns the request with a logger, which adds the request's number: req=1.
func withLogger(r *http.Request, log *slog.Logger) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), loggerKey{}, log))
}

// logger returns the logger that withLogger has put into the context.
func logger(ctx context.Context) *slog.Logger { return ctx.Value(loggerKey{}).(*slog.Logger) }
