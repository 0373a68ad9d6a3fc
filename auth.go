package main

// This file is the flow: sign up, log in, who am I.
//
//   - Sign-up stores a bcrypt hash of the password, and never the password.
//   - Log-in compares a password with that hash. The answer has a token, which names the user and
//     is signed with a key that only this program has.
//   - A request with that token is a request of that user. The server keeps no sessions.
//
// First come the handlers, then their parts in this order: errors and answers, passwords, tokens.
// "The lesson" is one about FastAPI, "Signup and Login Endpoints", which this program retells in
// Go.

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
	"maps"
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
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

// ---- The flow ----

type server struct {
	store    *store
	key      []byte // signs the tokens
	tokenTTL time.Duration
	cost     int              // of new bcrypt hashes: 12 means 2^12 rounds
	now      func() time.Time // a test sets another clock
	throttle *throttle        // slows down the guessing of passwords
	hashing  *semaphore       // lets only a few requests use bcrypt at a time
}

// signup stores a new user: POST /auth/signup with JSON.
//
// An error is an answer, too. refuse(…) makes it, and because(…) adds a reason for the log.
// readBody refuses with 415 (another Content-Type), 413 (too large) or 400 (it breaks off),
// parseSignup with 422 (wrong input), and hash with 503 (too busy).
func (s *server) signup(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, "application/json")
	if err != nil {
		return err
	}
	request, err := parseSignup(body)
	if err != nil {
		return err
	}

	// Hash the password. create looks later whether the name is taken: another sign-up could take
	// it while we hash.
	hash, err := s.hash(r.Context(), request.password)
	if err != nil {
		return err
	}

	// Store the user. create chooses the id, and we choose is_active: a client chooses neither.
	id, err := s.store.create(user{
		Username: request.username, Email: request.email, HashedPassword: hash, IsActive: true,
	})
	if errors.Is(err, errExists) {
		return refuse(http.StatusBadRequest, "Username already exists")
	}
	if err != nil { // such as a full disk, or an edit of the users file at the same moment
		return tryLater("Users cannot be stored just now").because(err.Error())
	}
	logger(r.Context()).Debug("saved the user", "user_id", id) // logger: the log of this request
	return writeJSON(w, http.StatusCreated, map[string]any{"message": "User created", "user_id": id})
}

// login exchanges a username and a password for a token: POST /auth/login with the password form
// of OAuth 2 (RFC 6749 §4.3).
func (s *server) login(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r, "application/x-www-form-urlencoded")
	if err != nil {
		return err
	}
	username, password, err := parseLogin(body)
	if err != nil {
		return err
	}

	// Too many failures in a row, with this name from this address? Say so before bcrypt runs.
	attempt := newThrottleKey(username, r.RemoteAddr)
	if wait := s.throttle.retryAfter(attempt, s.now()); wait > 0 {
		return tooManyFailures(wait)
	}

	// Is the password right?
	u, reason, err := s.authenticate(r.Context(), username, password)
	if err != nil {
		return err
	}

	// Count the result. Even a right log-in may get 429 here: others with this name may have
	// failed while it waited for bcrypt.
	success := u != nil
	if wait := s.throttle.count(attempt, success, s.now()); wait > 0 {
		return tooManyFailures(wait)
	}
	if !success {
		return refuse(http.StatusUnauthorized, "Invalid credentials").
			with("WWW-Authenticate", askToLogIn).
			withOAuth("invalid_grant").because(reason)
	}

	logger(r.Context()).Debug("right password: signs a token",
		"user_id", u.ID, "expires_in", s.tokenTTL)
	return writeJSON(w, http.StatusOK, loginResponse{
		Message:     "Login successful",
		UserID:      u.ID,
		AccessToken: s.newToken(u),
		TokenType:   "bearer",
		ExpiresIn:   int64(s.tokenTTL.Seconds()),
	})
}

type loginResponse struct {
	Message     string `json:"message"`
	UserID      int64  `json:"user_id"`
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int64  `json:"expires_in"` // seconds
}

// authenticate returns the user, if the log-in is right. Otherwise it returns nil and the reason,
// which only the log may tell.
//
// A log-in must not tell a stranger who has an account. (A sign-up does: it says that a name is
// taken.) So an unknown name, a wrong password and a disabled user get the same answer, after the
// same time (but see compare).
func (s *server) authenticate(ctx context.Context, username, password string) (*user, string, error) {
	release, err := s.hashing.acquire(ctx) // waits for a slot; release frees it
	if err != nil {
		return nil, "", err
	}
	defer release()

	users, _ := s.store.look() // reads the users file if it was edited
	u := users.named(username)
	match := s.compare(ctx, u, password)
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

// requireUser returns a handler that calls next with the user of the request's token. In Python
// it would be a decorator; in FastAPI, Depends(get_current_user).
func (s *server) requireUser(next func(http.ResponseWriter, *http.Request, *user) error) apiHandler {
	return func(w http.ResponseWriter, r *http.Request) error {
		// Take the token from "Authorization: Bearer eyJhbGci…".
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		token = strings.TrimLeft(token, " ") // RFC 9110 allows several spaces
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return refuse(http.StatusUnauthorized, "Not authenticated").
				with("WWW-Authenticate", askToLogIn)
		}

		// Find its user. The client learns only that the token is not valid; the log says why.
		u, err := s.userOf(token)
		if err != nil {
			return refuse(http.StatusUnauthorized, "Could not validate credentials").
				with("WWW-Authenticate", askForAnotherToken).because(err.Error())
		}
		logger(r.Context()).Debug("accepted the token", "user_id", u.ID)
		return next(w, r, u)
	}
}

// userOf returns the user of a token. It looks at the account at each request. While the user is
// disabled, removed or renamed, or has another password, the token is refused.
func (s *server) userOf(token string) (*user, error) {
	// Have we signed it? Then its claims are true, and sub is the id of a user, such as "1".
	c, err := verifyToken(s.key, token, s.now())
	if err != nil {
		return nil, err
	}
	id, _ := strconv.ParseInt(c.Subject, 10, 64) // 0, which nobody has, if it is no number

	// Is it still the account that logged in? (After an edit with a fault, these are the last good
	// users.)
	users, _ := s.store.look()
	u := users.byID[id]
	switch {
	case u == nil:
		return nil, errors.New("no user has this id")
	case !u.IsActive:
		return nil, errors.New("the user is disabled")
	case c.Fingerprint != fingerprint(u): // a digest of the name and the password hash
		return nil, errors.New("the user's name or password has changed since")
	}
	return u, nil
}

// ---- Errors and answers ----

// An apiHandler is a handler that returns an error where the lesson raises an HTTPException. It
// returns the error before it writes anything: an answer that has begun can't be changed.
type apiHandler func(http.ResponseWriter, *http.Request) error

// ServeHTTP is the method that the mux calls. Here h is the function itself: for /auth/signup,
// h(w, r) is s.signup(w, r).
func (h apiHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		writeError(w, r, err)
	}
}

// An httpError is an answer that refuses a request, like FastAPI's HTTPException.
type httpError struct {
	status int         // 400
	detail any         // for the client: "Username already exists", or a list of faults
	header http.Header // Retry-After: 60
	oauth  string      // the name that OAuth 2 has for the error (RFC 6749 §5.2): "invalid_grant"
	reason string      // only for the log: "unknown user"
}

func (e *httpError) Error() string { return fmt.Sprint(e.status, " ", e.detail) }

// refuse makes the error that the lesson makes with HTTPException(status_code=400, detail="…").
// The next three methods add to it.
func refuse(status int, detail any) *httpError {
	return &httpError{status: status, detail: detail, header: http.Header{}}
}

func (e *httpError) with(name, value string) *httpError {
	e.header.Set(name, value)
	return e
}

func (e *httpError) withOAuth(name string) *httpError {
	e.oauth = name
	return e
}

func (e *httpError) because(reason string) *httpError {
	e.reason = reason
	return e
}

const (
	// A 401 says in the header WWW-Authenticate how to log in (RFC 6750 §3).
	askToLogIn         = `Bearer realm="auth"`
	askForAnotherToken = `Bearer realm="auth", error="invalid_token"`

	// A 503 says in the header Retry-After when to try again.
	busyPause = "5" // seconds
)

func tryLater(detail string) *httpError {
	return refuse(http.StatusServiceUnavailable, detail).with("Retry-After", busyPause)
}

// writeError logs an error and answers it. An error that refuse hasn't made is a bug: the client
// gets 500, and only the log says more.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	answer, ok := err.(*httpError)
	if !ok {
		answer = refuse(http.StatusInternalServerError, "Internal Server Error").
			because(err.Error())
	}

	// The operator should know what is 500 or more, also without -v.
	level := slog.LevelDebug
	if answer.status >= 500 {
		level = slog.LevelError
	}
	logger(r.Context()).Log(r.Context(), level, "refused the request",
		"status", answer.status, "detail", answer.detail, "reason", answer.reason)

	maps.Copy(w.Header(), answer.header)
	writeJSON(w, answer.status, errorResponse{answer.detail, answer.oauth})
}

type errorResponse struct {
	Detail any    `json:"detail"`
	Error  string `json:"error,omitempty"` // omitempty: if it is "", leave it out
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

// ---- Passwords ----
//
// bcrypt is slow on purpose, so that guessing is slow. At cost 12 it does 2^12 rounds and takes a
// fifth of a second; at cost 13 it takes twice as long. If it worked for many requests at the same
// time, all of them would be slow. So bcrypt has a slot for each processor, and the other requests
// wait in a line.

const (
	minPassword = 8  // characters (without a second factor, NIST SP 800-63B wants 15)
	maxPassword = 72 // bytes: bcrypt reads no further
)

func (s *server) hash(ctx context.Context, password string) (string, error) {
	release, err := s.hashing.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()

	start := time.Now()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), s.cost)
	logger(ctx).Debug("hashed with bcrypt", "cost", s.cost, "took", time.Since(start))
	return string(hash), err
}

// compare reports whether u has this password. If u is nil, because nobody has the name, it
// compares all the same: a quick answer would tell that there is no such account. (A hash that was
// made with another -cost still takes another time.)
func (s *server) compare(ctx context.Context, u *user, password string) bool {
	hash := hashOfNobody(s.cost)
	if u != nil {
		hash = u.HashedPassword
	}
	start := time.Now()
	err := bcrypt.CompareHashAndPassword([]byte(hash), []byte(password))
	cost, _ := bcrypt.Cost([]byte(hash)) // no error: it is a hash
	logger(ctx).Debug("compared with bcrypt", "cost", cost, "took", time.Since(start))

	// bcrypt reads only the first 72 bytes. If they are right, it accepts a longer password. We
	// don't.
	return err == nil && len(password) <= maxPassword
}

// hashOfNobody returns a text in the form of a bcrypt hash: version, cost, and 53 characters of
// salt and digest, here dots. bcrypt works on it as long as on a real hash, but nobody knows a
// password for it.
func hashOfNobody(cost int) string {
	return fmt.Sprintf("$2a$%02d$%s", cost, strings.Repeat(".", 53))
}

// ---- Tokens ----
//
// A token is a JSON Web Token (RFC 7519): three parts in base64url, with dots between.
//
//	eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9   {"alg":"HS256","typ":"JWT"}
//	.eyJzdWIiOiIxIiwiaWF0IjoxN…             {"sub":"1","iat":1767225600,"exp":1767229200,"pwd":…}
//	.dBjftJeZ4CVP…                          HMAC-SHA256 of the first two parts, with our key
//
// Anybody can read the first two. Only the owner of the key can make the third. We make and check
// tokens by hand, so that nothing is hidden. A real program takes a library.

const tokenHeader = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9" // the first part of every token of ours

// Times are in seconds since 1970.
type claims struct {
	Subject     string `json:"sub"` // the user's id
	IssuedAt    int64  `json:"iat"`
	Expires     int64  `json:"exp"`
	Fingerprint string `json:"pwd"` // not the password: see fingerprint
}

// fingerprint is a digest of the name and the password hash. If one of them changes, the token is
// void. It is void, too, after its user was removed, if somebody else gets the same id.
func fingerprint(u *user) string {
	digest := sha256.Sum256([]byte(fold(u.Username) + " " + u.HashedPassword))
	return base64.RawURLEncoding.EncodeToString(digest[:8]) // 8 of 32 bytes: enough to see a change
}

func (s *server) newToken(u *user) string {
	now := s.now()
	payload, _ := json.Marshal(claims{ // can't fail: it has only strings and numbers
		Subject:     strconv.FormatInt(u.ID, 10),
		IssuedAt:    now.Unix(),
		Expires:     now.Add(s.tokenTTL).Unix(),
		Fingerprint: fingerprint(u),
	})
	firstTwo := tokenHeader + "." + base64.RawURLEncoding.EncodeToString(payload)
	return firstTwo + "." + signature(s.key, firstTwo)
}

// signature returns the third part of the token that begins with firstTwo.
func signature(key []byte, firstTwo string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(firstTwo))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) // Sum(nil) returns the digest
}

// verifyToken returns the claims of a token that is signed with key and has not expired.
func verifyToken(key []byte, token string, now time.Time) (claims, error) {
	// A token's header says how it is signed, and "alg":"none" means: not at all. If we believed
	// it, anybody could make a token (RFC 8725 §3.1). So we take only the header that we write
	// ourselves.
	parts := strings.Split(token, ".")
	if len(parts) != 3 || parts[0] != tokenHeader {
		return claims{}, errors.New("it doesn't have three parts, or has another header than ours")
	}

	// Check the signature before anything is decoded. == stops at the first character that
	// differs. An attacker could measure that, and guess the signature one character at a time.
	// hmac.Equal takes the same time, wherever they differ.
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

// ---- What protects the flow ----

// newServer returns a server that hashes with this cost, in a slot for each processor.
func newServer(st *store, key []byte, tokenTTL time.Duration, cost int) *server {
	return &server{
		store:    st,
		key:      key,
		tokenTTL: tokenTTL,
		cost:     cost,
		now:      time.Now,
		throttle: &throttle{counts: map[throttleKey]failureCount{}},
		hashing:  &semaphore{slots: make(chan struct{}, processors)},
	}
}

// ---- What a request may send ----

const (
	maxBody  = 64 << 10 // bytes: more than any sign-up or log-in needs
	maxEmail = 254      // characters: a longer address is not valid (RFC 5321 §4.5.3.1.3)
)

// readBody returns the body, if it has this media type and is not too large.
func readBody(w http.ResponseWriter, r *http.Request, mediaType string) ([]byte, error) {
	// ParseMediaType cuts off what may follow: application/json; charset=utf-8.
	sent, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || sent != mediaType {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type must be "+mediaType)
	}

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := err.(*http.MaxBytesError); tooLarge {
		return nil, refuse(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("Body must be at most %d bytes", maxBody)).
			with("Connection", "close") // answer now: don't wait for the rest of the body
	}
	if err != nil { // the client hung up, was too slow, or sent broken data
		return nil, refuse(http.StatusBadRequest, "Body could not be read to its end").
			because(err.Error())
	}
	return body, nil
}

// A fault is one thing that is wrong with the input, in FastAPI's form. It doesn't repeat the
// input, which may be a password.
//
//	{"type":"missing","loc":["body","password"],"msg":"Field required"}
type fault struct {
	Type string `json:"type"`
	Loc  []any  `json:"loc"`
	Msg  string `json:"msg"`
}

// A faultList has all faults of a request. It is nil if there is none.
type faultList []fault

const fieldRequired = "Field required"

// require adds a fault of a field if ok is false. Of each field, only the first fault is told.
func (faults *faultList) require(ok bool, field, kind, msg string) {
	isKnown := func(f fault) bool { return slices.Contains(f.Loc, any(field)) }
	if !ok && !slices.ContainsFunc(*faults, isKnown) {
		*faults = append(*faults, fault{kind, []any{"body", field}, msg})
	}
}

// requireText returns a member that must be a string.
func (faults *faultList) requireText(members map[string]any, field string) string {
	value, sent := members[field]
	faults.require(sent, field, "missing", fieldRequired)
	text, ok := value.(string)
	faults.require(ok, field, "string_type", "Input should be a valid string")
	return text
}

func invalid(faults faultList) *httpError { return refuse(http.StatusUnprocessableEntity, faults) }

// A signupRequest is what a client may choose. It is another type than user: otherwise clients
// could set id and is_active, as in the lesson (mass assignment, OWASP API3:2023).
type signupRequest struct {
	username, email, password string
}

// parseSignup returns the request, or an error with the faults of all its fields.
func parseSignup(body []byte) (signupRequest, error) {
	members, faults := parseObject(body)
	if faults != nil {
		return signupRequest{}, invalid(faults)
	}

	username := parseUsername(members, &faults)
	email := parseEmail(members, &faults)
	password := parsePassword(members, &faults)
	if faults != nil {
		return signupRequest{}, invalid(faults)
	}
	return signupRequest{username, email, password}, nil
}

// parseObject returns the members of a JSON object. With a struct in place of the map, a member
// Username would count as username: encoding/json ignores the letter case.
func parseObject(body []byte) (map[string]any, faultList) {
	if len(body) == 0 {
		return nil, faultList{{"missing", []any{"body"}, fieldRequired}}
	}
	if !utf8.Valid(body) {
		return nil, faultList{{"json_invalid", []any{"body"}, "JSON decode error: not UTF-8"}}
	}

	var members map[string]any
	err := json.Unmarshal(body, &members)
	if syntax, ok := err.(*json.SyntaxError); ok {
		position := syntax.Offset - 1 // FastAPI counts from 0
		return nil, faultList{{"json_invalid", []any{"body", position}, "JSON decode error"}}
	}

	// It is JSON. If it is no object, or null, members is nil.
	if members == nil {
		const msg = "Input should be a valid dictionary or object"
		return nil, faultList{{"model_attributes_type", []any{"body"}, msg}}
	}
	return members, nil
}

// usernamePattern allows most e-mail addresses, but no look-alikes such as the Cyrillic а.
var usernamePattern = regexp.MustCompile(`^[A-Za-z0-9._@+-]{1,64}$`)

func parseUsername(members map[string]any, faults *faultList) string {
	name := faults.requireText(members, "username")
	faults.require(usernamePattern.MatchString(name), "username", "string_pattern_mismatch",
		"String should have 1 to 64 ASCII letters, digits and . _ - @ +")
	return name
}

func parseEmail(members map[string]any, faults *faultList) string {
	email := faults.requireText(members, "email")

	// ParseAddress also takes "Enrico <e@b>", whose address is only a part of the text.
	address, err := mail.ParseAddress(email)
	ok := err == nil && address.Address == email && utf8.RuneCountInString(email) <= maxEmail
	faults.require(ok, "email", "value_error", "Value is not a valid email address")
	return email
}

// parsePassword also takes hashed_password, if there is no password: the lesson's clients call the
// password so, and send it unhashed.
func parsePassword(members map[string]any, faults *faultList) string {
	field := "password"
	if _, sent := members[field]; !sent && members["hashed_password"] != nil {
		field = "hashed_password"
	}

	password := faults.requireText(members, field)
	faults.require(utf8.RuneCountInString(password) >= minPassword, field, "string_too_short",
		fmt.Sprintf("String should have at least %d characters", minPassword))
	faults.require(len(password) <= maxPassword, field, "string_too_long",
		fmt.Sprintf("String should have at most %d bytes", maxPassword))

	// bcrypt reads the password, \0, the password, \0 and so on, up to 72 bytes. So abc and
	// abc\0abc would be the same.
	faults.require(!strings.ContainsFunc(password, unicode.IsControl), field, "value_error",
		"Value should have no control character")
	return password
}

// parseLogin doesn't read the query string: URLs end up in logs.
func parseLogin(body []byte) (username, password string, err error) {
	var faults faultList

	// A form is written like a query string. ParseQuery refuses a semicolon, but curl -d sends it
	// as it is. So encode it.
	form, err := url.ParseQuery(strings.ReplaceAll(string(body), ";", "%3B"))
	if err != nil {
		faults = faultList{{"value_error", []any{"body"}, "Value is not a valid form"}}
		return "", "", invalid(faults).withOAuth("invalid_request")
	}

	username, password = form.Get("username"), form.Get("password")
	faults.require(username != "", "username", "missing", fieldRequired)
	faults.require(password != "", "password", "missing", fieldRequired)

	// grant_type says how one logs in. "password" is the only way here, and may be left out.
	grant, oauth := form.Get("grant_type"), "invalid_request"
	if grant != "" && grant != "password" {
		faults.require(false, "grant_type", "string_pattern_mismatch",
			"String should match pattern '^password$'")
		oauth = "unsupported_grant_type"
	}
	if faults != nil {
		return "", "", invalid(faults).withOAuth(oauth)
	}
	return username, password, nil
}

// ---- Waiting in a line ----

const (
	maxWaiting = 100              // requests in the line; the next one is refused at once
	maxWait    = 15 * time.Second // a request that waits longer is refused
)

// processors is GOMAXPROCS at the start, before serve allows one more. (0 only asks.)
var processors = runtime.GOMAXPROCS(0)

// A semaphore lets only as many requests work at the same time as it has slots.
type semaphore struct {
	slots   chan struct{} // to send takes a slot, to receive frees one; if all are taken, a send waits
	waiting atomic.Int64  // requests in the line
}

// acquire waits for a slot. The caller must call release when its work is done. The error is an
// answer, such as 503.
func (sem *semaphore) acquire(ctx context.Context) (release func(), err error) {
	waiting := sem.waiting.Add(1)
	defer sem.waiting.Add(-1) // a request leaves the line when it gets a slot, or gives up
	if waiting > maxWaiting {
		return nil, noSlot("too many requests wait already")
	}

	select {
	case sem.slots <- struct{}{}:
		return func() { <-sem.slots }, nil
	case <-time.After(maxWait):
		return nil, noSlot("no slot became free in time")
	case <-ctx.Done():
		return nil, refuse(http.StatusBadRequest, "The client hung up")
	}
}

func noSlot(reason string) error { return tryLater("Too busy just now").because(reason) }

// ---- The throttle ----

const (
	maxFailures  = 10          // failed log-ins in a row before the throttle starts
	failurePause = time.Minute // between two tries from then on: at most 1,440 a day
	maxCounts    = 10_000      // pairs of name and address: about 1 MB
)

// A throttle slows down the guessing of passwords. After maxFailures in a row, it allows one try
// in each failurePause, until a log-in is right. It counts by name and address, so nobody can
// lock a user out from another address (unless a proxy gives both the same one). It counts names
// that nobody has, too.
type throttle struct {
	mu     sync.Mutex // guards counts
	counts map[throttleKey]failureCount
}

// A throttleKey is a digest of name and address. So each takes 32 bytes, even if a client sends a
// name of 64 KiB.
type throttleKey [sha256.Size]byte

type failureCount struct {
	inARow    int
	notBefore time.Time // the next try may come then
}

// newThrottleKey takes an address such as 192.0.2.1:51234. X-Forwarded-For is not read: anybody
// can send it.
func newThrottleKey(username, remoteAddr string) throttleKey {
	addrPort, _ := netip.ParseAddrPort(remoteAddr)
	addr := addrPort.Addr()

	// One IPv6 customer has all addresses that begin with the same 64 bits. So count by these. Of
	// an IPv4 address, take all 32 bits.
	network, _ := addr.Prefix(min(64, addr.BitLen()))
	return sha256.Sum256([]byte(network.String() + " " + fold(username)))
}

func tooManyFailures(wait time.Duration) error {
	seconds := int(math.Ceil(wait.Seconds()))
	return refuse(http.StatusTooManyRequests, "Too many failed log-ins").
		with("Retry-After", strconv.Itoa(seconds))
}

// retryAfter returns how long the next try must wait. If that is 0 or less, it may come now.
func (t *throttle) retryAfter(key throttleKey, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[key].notBefore.Sub(now) // before the tenth failure, notBefore is in the year 1
}

// count counts the result of a try, and returns 0. But if the try must wait, it returns for how
// long. Both is one step, under the lock: a hundred guesses at the same moment may all pass
// retryAfter, but only ten of them get a result.
func (t *throttle) count(key throttleKey, success bool, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	count := t.counts[key]
	if wait := count.notBefore.Sub(now); wait > 0 {
		return wait
	}
	if success {
		delete(t.counts, key)
		return 0
	}

	// If the map is full, forget all. An attacker has to fail for 10,000 pairs to get there.
	if len(t.counts) >= maxCounts {
		clear(t.counts)
	}
	count.inARow++
	if count.inARow >= maxFailures {
		count.notBefore = now.Add(failurePause)
	}
	t.counts[key] = count
	return 0
}

// ---- The log of a request ----

// The context of a request can carry values, like request.state in FastAPI. withLogger puts the
// logger in, and logger takes it out. loggerKey is a type that only this program has. So no other
// package can use the same key.
type loggerKey struct{}

func withLogger(r *http.Request, log *slog.Logger) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), loggerKey{}, log))
}

// logger returns the logger of a request. Its lines have the number of the request: req=1.
func logger(ctx context.Context) *slog.Logger { return ctx.Value(loggerKey{}).(*slog.Logger) }
