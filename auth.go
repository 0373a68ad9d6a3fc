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
	minPassword = 8        // characters: NIST SP 800-63B wants 15 if there is no second factor
	maxPassword = 72       // bytes: bcrypt reads no further

	busyPause    = 5 * time.Second // in Retry-After of a 503
	maxFailures  = 10              // failed log-ins in a row before the throttle starts
	failurePause = time.Minute     // between two tries from then on: at most 1,440 a day
	maxCounts    = 10_000          // pairs of name and address in the throttle: about 1 MB

	// In a 401, the header WWW-Authenticate says how to log in: with a bearer token (RFC 6750 §3).
	bearerChallenge = `Bearer realm="auth"`
)

// ---- The flow ----

// A server has the handlers of /auth/.
type server struct {
	store    *store
	key      []byte // signs the tokens
	tokenTTL time.Duration
	now      func() time.Time // time.Now; a test sets another clock
	throttle *throttle
	hashing  *semaphore // see store.go: a slot for each processor, held while bcrypt works
}

var processors = runtime.GOMAXPROCS(0) // 0 only asks for the number

func newServer(st *store, key []byte, tokenTTL time.Duration) *server {
	return &server{
		store:    st,
		key:      key,
		tokenTTL: tokenTTL,
		now:      time.Now,
		throttle: &throttle{counts: make(map[throttleKey]failureCount)},
		hashing:  newSemaphore(processors),
	}
}

// signup stores a new user: POST /auth/signup with JSON. Where it returns an error, the lesson
// raises an HTTPException.
func (s *server) signup(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(r, "application/json")
	if err != nil {
		return err
	}
	request, faults := parseSignup(body)
	if len(faults) > 0 {
		return refuse(http.StatusUnprocessableEntity, faults) // 422
	}

	// Hash the password. We don't look first whether the name is taken: create must look in any
	// case, since another sign-up may take the name meanwhile.
	hash, err := s.hash(r.Context(), request.password)
	if err != nil {
		return err
	}

	// Store the user. The id and is_active are ours to choose, not the client's.
	start := time.Now()
	id, err := s.store.create(r.Context(), user{
		Username: request.username, Email: request.email, HashedPassword: hash, IsActive: true,
	})
	if err != nil {
		return err // answerTo, below, knows the answer to each error of create
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
func (s *server) login(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(r, "application/x-www-form-urlencoded")
	if err != nil {
		return err
	}
	request, err := parseLogin(body)
	if err != nil {
		return err
	}
	u, err := s.authenticate(r.Context(), request, r.RemoteAddr)
	if err != nil {
		return err
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

// authenticate returns the user who has this name and password.
//
// A stranger must not learn who has an account. So the answer to a wrong password, an unknown name
// and a disabled user is the same, and takes the same time. (A sign-up does tell that a name is
// taken. To avoid that, it would have to answer by e-mail.)
func (s *server) authenticate(ctx context.Context, request loginRequest, remoteAddr string) (
	*user, error) {
	// Sign-up refuses a password of over 72 bytes, or with a zero byte. So nobody can have signed
	// up with this one, and we may answer at once, for every name. It doesn't count as a failure.
	if !possiblePassword(request.password) {
		return nil, refuse(http.StatusUnauthorized, "Invalid credentials").
			with("WWW-Authenticate", bearerChallenge).
			withOAuth("invalid_grant").because("no user can have this password")
	}

	// Too many failures in a row? Say so before bcrypt runs, which is the expensive part.
	key := newThrottleKey(request.username, remoteAddr)
	if pause := s.throttle.pause(key, s.now()); pause > 0 {
		return nil, refuse(http.StatusTooManyRequests, "Too many failed log-ins").
			with("Retry-After", seconds(pause))
	}

	// Either u may log in, or u is nil and reason says why not, or nothing was compared (err).
	u, reason, err := s.checkPassword(ctx, request)
	if err != nil {
		return nil, err
	}

	// A hundred guesses that come together all pass the check above, and come here one by one. The
	// first ten failures are counted. Then record returns a pause, and we answer 429 even if u is
	// right. Otherwise a hundred guesses would get a hundred results.
	if pause := s.throttle.record(key, u != nil, s.now()); pause > 0 {
		return nil, refuse(http.StatusTooManyRequests, "Too many failed log-ins").
			with("Retry-After", seconds(pause))
	}
	if u == nil {
		return nil, refuse(http.StatusUnauthorized, "Invalid credentials").
			with("WWW-Authenticate", bearerChallenge).
			withOAuth("invalid_grant").because(reason)
	}
	return u, nil
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

// A userHandler is a handler that also gets the user who sends the request.
type userHandler func(http.ResponseWriter, *http.Request, *user) error

// requireUser returns a handler that calls next with the user of the request's token. In Python it
// would be a decorator; in FastAPI, Depends(get_current_user).
func (s *server) requireUser(next userHandler) apiHandler {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store") // the answer is for this user only

		// Take the token from "Authorization: Bearer eyJhbGci…".
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		token = strings.TrimLeft(token, " ")
		if !strings.EqualFold(scheme, "Bearer") || token == "" {
			return refuse(http.StatusUnauthorized, "Not authenticated").
				with("WWW-Authenticate", bearerChallenge)
		}

		// Find its user. The client learns only that the token is not valid; the log says why.
		u, err := s.userOf(token)
		if err != nil {
			return refuse(http.StatusUnauthorized, "Could not validate credentials").
				with("WWW-Authenticate", bearerChallenge+`, error="invalid_token"`). // RFC 6750 §3.1
				because(err.Error())
		}

		logger(r.Context()).Debug("accepted the token", "user_id", u.ID)
		return next(w, r, u)
	}
}

// userOf returns the user of a token. It looks at the account at each request. While the user is
// disabled, removed or renamed, or has another password, the token is refused.
func (s *server) userOf(token string) (*user, error) {
	// Have we signed it? Then its subject is the id of a user, such as "1".
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
	case c.Fingerprint != fingerprint(u): // a digest of the name and the password hash
		return nil, errors.New("the user's name or password has changed since")
	}
	return u, nil
}

// ---- Errors and answers ----

// An apiHandler is a handler that returns an error where the lesson raises an HTTPException. It
// must do that before it begins to answer.
type apiHandler func(http.ResponseWriter, *http.Request) error

// ServeHTTP makes an http.Handler of an apiHandler: the mux calls this method. h is the function
// itself, such as s.signup: a function type can have methods too. If h returns an error, ServeHTTP
// answers that.
func (h apiHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		writeError(w, r, err)
	}
}

// An httpError is an answer that refuses a request, like FastAPI's HTTPException. It remembers the
// line that called refuse, as a traceback in Python does. With -v, the log names that line. (For
// other errors, it is the line in answerTo.)
type httpError struct {
	status int         // 400
	detail any         // for the client: "Username already exists", or faults
	header http.Header // Retry-After: 60
	oauth  string      // the name that OAuth 2 has for the error (RFC 6749 §5.2): "invalid_grant"
	reason string      // for the log, not for the client: "unknown user"

	level  slog.Level // of the line in the log: Debug (only with -v) or Error
	caller uintptr    // where refuse was called
}

func (e *httpError) Error() string { return fmt.Sprint(e.status, " ", e.detail) }

// refuse makes the error that the lesson makes with HTTPException(status_code=400, detail="…").
func refuse(status int, detail any) *httpError {
	return &httpError{
		status: status, detail: detail, header: http.Header{},
		level: slog.LevelDebug, caller: callerOfCaller(),
	}
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

// forOperator makes the log show the error without -v too: the operator has to do something.
func (e *httpError) forOperator() *httpError {
	e.level = slog.LevelError
	return e
}

// seconds writes a time as Retry-After wants it: in whole seconds, rounded up.
func seconds(d time.Duration) string { return strconv.Itoa(int(math.Ceil(d.Seconds()))) }

const statusClientClosedRequest = 499 // nginx uses this number in its log; nobody gets the answer

// answerTo returns the answer to an error of a handler. Most errors are an answer already: refuse
// has made them. The others come from the store or from acquire, or are a bug. (errors.Is and
// errors.AsType ask what an error is, as except and isinstance do in Python.)
func answerTo(ctx context.Context, err error) *httpError {
	if answer, ok := errors.AsType[*httpError](err); ok {
		return answer
	}
	switch {
	case errors.Is(err, errExists):
		return refuse(http.StatusBadRequest, "Username already exists")
	case errors.Is(err, errBusy): // there was no slot to hash or to save
		return refuse(http.StatusServiceUnavailable, "Too busy just now").
			with("Retry-After", seconds(busyPause)).because(err.Error())
	case errors.Is(err, errSaveFailed): // the file or its disk has a fault, or it was just edited
		return refuse(http.StatusServiceUnavailable, "Users cannot be stored just now").
			with("Retry-After", seconds(busyPause)).because(err.Error()).forOperator()
	case errors.Is(err, context.Canceled) && ctx.Err() != nil: // ctx is that of the request
		return refuse(statusClientClosedRequest, "Client closed request").
			because("the client has hung up")
	}
	return refuse(http.StatusInternalServerError, "Internal Server Error").
		because(err.Error()).forOperator()
}

// writeError logs an error and answers it.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	// Has another answer begun? Then it is too late for this one. After a panic with
	// ErrAbortHandler, net/http closes the connection, so the client sees that the answer is not
	// whole. (net/http logs nothing about it, so we do.)
	if rec, ok := w.(*recorder); ok && rec.begun {
		logger(r.Context()).Error("the answer was cut off", "reason", err)
		panic(http.ErrAbortHandler)
	}
	answer := answerTo(r.Context(), err)
	logRefusal(r.Context(), answer)

	// A handler that failed may have set these for its own answer.
	w.Header().Del("Content-Length")
	w.Header().Del("Content-Encoding")

	for name := range answer.header {
		w.Header().Set(name, answer.header.Get(name))
	}
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

// A recorder passes an answer on. It remembers the status, and whether the answer has begun. It has
// all methods of the ResponseWriter inside it, and replaces two. logRequests, in main.go, puts one
// around each answer.
type recorder struct {
	http.ResponseWriter
	status int
	begun  bool
}

func (w *recorder) WriteHeader(status int) {
	if !w.begun { // a second call changes nothing
		w.status = status
	}
	w.begun = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(text []byte) (int, error) {
	w.begun = true
	return w.ResponseWriter.Write(text)
}

// Unwrap is called by http.NewResponseController. With that, a handler of yours can send a part of
// an answer at once, or change its time limit.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ---- What a request may send ----

// readBody returns the body, if it has this media type and is not too large.
func readBody(r *http.Request, mediaType string) ([]byte, error) {
	// ParseMediaType cuts off what may follow: application/json; charset=utf-8.
	sent, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || sent != mediaType {
		return nil, refuse(http.StatusUnsupportedMediaType, "Content-Type must be "+mediaType)
	}

	// Read one byte more than is allowed: if it comes, the body is too large. If the header says
	// that already, don't read at all. (It doesn't have to say: then ContentLength is -1.)
	tooLarge := r.ContentLength > maxBody
	var body []byte
	if !tooLarge {
		body, err = io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		tooLarge = len(body) > maxBody
	}

	if tooLarge {
		return nil, refuse(http.StatusRequestEntityTooLarge,
			fmt.Sprintf("Body must be at most %d bytes", maxBody)).
			with("Connection", "close") // nobody reads the rest
	}
	if err != nil { // the client hung up, was too slow, or sent broken data
		return nil, refuse(http.StatusBadRequest, "Body could not be read to its end")
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

// A faultList is all that is wrong with a request. If it is empty, nothing is wrong.
type faultList []fault

// add adds a fault of a field.
func (list *faultList) add(field, kind, msg string) {
	*list = append(*list, fault{kind, []any{"body", field}, msg})
}

// require adds a fault of a field, unless ok.
func (list *faultList) require(ok bool, field, kind, msg string) {
	if !ok {
		list.add(field, kind, msg)
	}
}

// String is what slog calls to write the faults into the log. They look as the client sees them.
func (list faultList) String() string {
	text, _ := json.Marshal(list) // can't fail: strings and numbers
	return string(text)
}

// A signupRequest is what a client may choose. It is another type than user: otherwise clients
// could set id and is_active, as in the lesson (mass assignment, OWASP API3:2023).
type signupRequest struct {
	username, email, password string
}

// parseSignup returns the request, or all its faults, not only the first one.
func parseSignup(body []byte) (signupRequest, faultList) {
	members, faults := parseObject(body)
	if faults != nil {
		return signupRequest{}, faults
	}
	username, usernameFaults := parseUsername(members)
	email, emailFaults := parseEmail(members)
	password, passwordFaults := parsePassword(members)
	faults = slices.Concat(usernameFaults, emailFaults, passwordFaults)
	return signupRequest{username, email, password}, faults
}

// parseObject returns the members of a JSON object. It uses a map, because a struct would also take
// a member Username for username.
func parseObject(body []byte) (map[string]any, faultList) {
	if len(body) == 0 {
		return nil, faultList{{"missing", []any{"body"}, "Field required"}}
	}
	if !utf8.Valid(body) {
		return nil, faultList{{"json_invalid", []any{"body"}, "JSON decode error: not UTF-8"}}
	}
	var value any
	err := json.Unmarshal(body, &value)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		position := max(0, syntax.Offset-1) // FastAPI counts from 0
		return nil, faultList{{"json_invalid", []any{"body", position}, "JSON decode error"}}
	}

	// An array, a string or null is JSON, but no object.
	members, ok := value.(map[string]any)
	if !ok {
		const msg = "Input should be a valid dictionary or object"
		return nil, faultList{{"model_attributes_type", []any{"body"}, msg}}
	}
	return members, nil
}

// parseText returns a member that must be a string. If it is missing, or something else, that is
// its only fault.
func parseText(members map[string]any, field string) (text string, faults faultList) {
	value, sent := members[field]
	if !sent {
		faults.add(field, "missing", "Field required")
		return "", faults
	}
	text, ok := value.(string)
	if !ok { // a number, null, …
		faults.add(field, "string_type", "Input should be a valid string")
	}
	return text, faults
}

// usernamePattern allows e-mail addresses, but no look-alikes such as the Cyrillic а.
var usernamePattern = regexp.MustCompile(`^[A-Za-z0-9._@+-]*$`)

func parseUsername(members map[string]any) (string, faultList) {
	name, faults := parseText(members, "username")
	if faults != nil {
		return "", faults
	}
	faults.require(name != "", "username", "string_too_short",
		"String should have at least 1 character")
	faults.require(utf8.RuneCountInString(name) <= maxUsername, "username", "string_too_long",
		fmt.Sprintf("String should have at most %d characters", maxUsername))
	faults.require(usernamePattern.MatchString(name), "username", "string_pattern_mismatch",
		"String should have only ASCII letters, digits and . _ - @ +")
	return name, faults
}

func parseEmail(members map[string]any) (string, faultList) {
	email, faults := parseText(members, "email")
	if faults != nil {
		return "", faults
	}
	faults.require(utf8.RuneCountInString(email) <= maxEmail, "email", "string_too_long",
		fmt.Sprintf("String should have at most %d characters", maxEmail))
	faults.require(isEmail(email), "email", "value_error", "Value is not a valid email address")
	return email, faults
}

// isEmail reports whether text is one bare address. ParseAddress also takes "Enrico <e@b>", whose
// address is only a part of the text, and e@[127.0.0.1].
func isEmail(text string) bool {
	address, err := mail.ParseAddress(text)
	if err != nil || address.Address != text || strings.HasSuffix(text, "]") {
		return false
	}
	invisible := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	return !strings.ContainsFunc(text, invisible)
}

// parsePassword returns the password. The lesson's request calls it hashed_password, so we take
// that name too.
func parsePassword(members map[string]any) (string, faultList) {
	first, hasFirst := members["password"]
	second, hasSecond := members["hashed_password"]

	// Only one of them was sent, or none.
	if !hasFirst && hasSecond {
		return parsePasswordAs("hashed_password", members)
	}
	password, faults := parsePasswordAs("password", members)
	if !hasSecond {
		return password, faults
	}

	// Both were sent: they must be equal. If one of them is no string, that is a fault already.
	_, secondFaults := parseText(members, "hashed_password")
	faults = append(faults, secondFaults...)
	_, isText := first.(string)
	if isText && secondFaults == nil && first != second {
		faults.add("hashed_password", "value_error",
			"Value should be that of password, or be left out")
	}
	return password, faults
}

// parsePasswordAs returns the password in this field.
func parsePasswordAs(field string, members map[string]any) (string, faultList) {
	password, faults := parseText(members, field)
	if faults != nil {
		return "", faults
	}
	faults.require(utf8.RuneCountInString(password) >= minPassword, field, "string_too_short",
		fmt.Sprintf("String should have at least %d characters", minPassword))
	faults.require(len(password) <= maxPassword, field, "string_too_long",
		fmt.Sprintf("String should have at most %d bytes", maxPassword))

	// Nobody can type control characters, and the zero byte is one (see possiblePassword).
	// RuneError is what Go puts for half an emoji: JSON may write "\ud83d" for one half and
	// "\ude00" for the other. Without this rule, "\ud83d" and "\ud83e" would become the same
	// password.
	broken := strings.ContainsRune(password, utf8.RuneError)
	faults.require(!broken && !strings.ContainsFunc(password, unicode.IsControl), field,
		"value_error", "Value should have no control character and be valid Unicode")
	return password, faults
}

type loginRequest struct {
	username, password string
}

// parseLogin reads the form of a log-in. It doesn't read the query string: URLs end up in logs.
func parseLogin(body []byte) (loginRequest, error) {
	// ParseQuery refuses a semicolon, and curl -d sends one in a password as it is. So encode it.
	form, err := url.ParseQuery(strings.ReplaceAll(string(body), ";", "%3B"))
	if err != nil { // wrong %-encoding, or too many parameters
		faults := faultList{{"value_error", []any{"body"}, "Value is not a valid form"}}
		return loginRequest{}, refuse(http.StatusUnprocessableEntity, faults).
			withOAuth("invalid_request")
	}

	// None of these may be repeated. Other parameters are ignored (RFC 6749 §3.2).
	var faults faultList
	for _, name := range []string{
		"grant_type", "username", "password", "scope", "client_id", "client_secret",
	} {
		faults.require(len(form[name]) <= 1, name, "value_error",
			"A parameter should not be repeated")
	}
	username, password := form.Get("username"), form.Get("password")
	faults.require(username != "", "username", "missing", "Field required")
	faults.require(password != "", "password", "missing", "Field required")

	// OAuth 2 has other grants than the password, such as authorization_code. We have only this
	// one.
	oauth, grant := "invalid_request", form.Get("grant_type")
	if len(form["grant_type"]) == 1 && grant != "" && grant != "password" {
		faults.add("grant_type", "string_pattern_mismatch",
			"String should match pattern '^password$'")
		oauth = "unsupported_grant_type"
	}
	if faults != nil {
		return loginRequest{}, refuse(http.StatusUnprocessableEntity, faults).withOAuth(oauth)
	}
	return loginRequest{username, password}, nil
}

// ---- Passwords ----
//
// bcrypt is slow on purpose, so that guessing is slow. At cost 12 it does 2^12 rounds and takes a
// fifth of a second; at cost 13 it takes twice as long. If 32 requests hashed at the same time on
// two processors, all of them would wait for seconds, and none would be done sooner. So there is a
// slot for each processor, and the other requests wait in a line.

// hash returns the bcrypt hash of a password. The error is one of acquire's, in store.go (errBusy
// or context.Canceled), or bcrypt's.
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

// possiblePassword reports whether bcrypt keeps a password apart from all others. Sign-up takes
// only such passwords. bcrypt always works on 72 bytes. It ignores what comes after them. If there
// are fewer, it writes the password and a zero byte again and again. From abc and from abc\0abc it
// makes the same bytes: abc\0abc\0abc\0…
func possiblePassword(password string) bool {
	return len(password) <= maxPassword && !strings.Contains(password, "\x00")
}

// checkPassword looks whether a user may log in. It returns one of three:
//
//	user, "", nil               the password is right
//	nil, "wrong password", nil  the user may not log in, and why: this is for the log
//	nil, "", errBusy            there was no slot (or another error of acquire)
func (s *server) checkPassword(ctx context.Context, request loginRequest) (
	u *user, reason string, err error) {
	release, err := s.hashing.acquire(ctx)
	if err != nil {
		return nil, "", err
	}
	defer release()

	// Compare the password with the user's hash. If nobody has the name, there is no hash.
	users := s.store.current()
	u = users.named(request.username)
	hash := ""
	if u != nil {
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

// compare reports whether a password has this hash. No password has the hash "".
//
// It does 2^highestCost rounds in any case, so its time says nothing about the hash. If the hash is
// cheaper, or there is none, compare goes on hashing the password, and throws the result away. If
// the highest cost is 12:
//
//	hash of cost 12: 2^12 rounds
//	hash of cost 10: 2^10 rounds, then 2^10 and 2^11 for nothing: 1024 + 1024 + 2048 = 4096 = 2^12
//	no hash:         2^12 rounds for nothing
func compare(hash, password string, highestCost int) (match bool, rounds int) {
	if hash == "" {
		return false, hashForNothing(password, highestCost)
	}

	match = bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	hashCost, _ := bcrypt.Cost([]byte(hash)) // no error: it is a hash
	rounds = 1 << hashCost                   // 2^hashCost
	for c := hashCost; c < highestCost; c++ {
		rounds += hashForNothing(password, c)
	}
	return match, rounds
}

// hashForNothing hashes a password and throws the hash away. It returns the rounds that bcrypt says
// it has done.
func hashForNothing(password string, cost int) (rounds int) {
	hash, _ := bcrypt.GenerateFromPassword([]byte(password), cost) // no error: see possiblePassword
	done, _ := bcrypt.Cost(hash)
	return 1 << done
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
	Fingerprint string `json:"pwd"` // not the password: see fingerprint
}

// fingerprint is a digest of the name (in any letter case) and the password hash. It changes if one
// of them changes. So a token is no longer valid if the user has a new password, or if an edit of
// the file has given the id in the token to another user.
func fingerprint(u *user) string {
	digest := sha256.Sum256([]byte(fold(u.Username) + " " + u.HashedPassword))
	return base64.RawURLEncoding.EncodeToString(digest[:8]) // enough to see a change
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
	firstTwo := tokenHeader + "." + base64.RawURLEncoding.EncodeToString(payload)
	return firstTwo + "." + signature(key, firstTwo)
}

// signature returns the third part of the token that begins with firstTwo.
func signature(key []byte, firstTwo string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(firstTwo))
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

	// Check the signature before anything is decoded. == stops at the first character that differs.
	// Somebody could measure that, and guess one character after the other. hmac.Equal always takes
	// the same time.
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

// A throttle slows down the guessing of passwords. After maxFailures in a row, it allows one try in
// each failurePause, until a log-in is right. It counts by name and address, so nobody can lock a
// user out from another address. (Behind a proxy, all clients have its address: let the proxy limit
// them.) A name that nobody has is counted in the same way.
type throttle struct {
	mu     sync.Mutex // guards counts
	counts map[throttleKey]failureCount
}

// A throttleKey is a digest of name and address: a client may send a name of 64 KiB.
type throttleKey [sha256.Size]byte

type failureCount struct {
	inARow int
	last   time.Time
}

// newThrottleKey takes an address such as 192.0.2.1:51234. X-Forwarded-For is not read: anybody can
// send it. With IPv6, a customer has all addresses with the same first 64 bits. So 2001:db8::1 and
// 2001:db8::2 count as one.
func newThrottleKey(username, remoteAddr string) throttleKey {
	addrPort, _ := netip.ParseAddrPort(remoteAddr)
	addr := addrPort.Addr().Unmap() // ::ffff:192.0.2.1 is another way to write 192.0.2.1
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return sha256.Sum256([]byte(addr.String() + " " + fold(username)))
}

// pause returns how long the next try must wait, or 0.
func (t *throttle) pause(key throttleKey, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts[key].remaining(now) // a key that is not in the map has no failures
}

func (c failureCount) remaining(now time.Time) time.Duration {
	if c.inARow < maxFailures {
		return 0
	}
	return max(0, c.last.Add(failurePause).Sub(now))
}

// record counts the result of a try. While this try was hashed, other tries may have failed and
// reached the limit. Then record counts nothing and returns the pause. The caller must answer 429,
// even if the password was right.
func (t *throttle) record(key throttleKey, ok bool, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.counts[key]
	if pause := before.remaining(now); pause > 0 {
		return pause
	}
	if ok {
		delete(t.counts, key)
		return 0
	}

	// No room for a new pair? Forget all. (Failures never grow old, so that may happen after
	// months. An attacker has to fail for 10,000 pairs of name and address.)
	isNew := before.inARow == 0
	if isNew && len(t.counts) >= maxCounts {
		clear(t.counts)
	}
	t.counts[key] = failureCount{before.inARow + 1, now}
	return 0
}

// ---- The log of a request ----

// loggerKey is the key of a value in a context, which goes with a request. It has a type of its
// own, so no other package can use the same key.
type loggerKey struct{}

// withLogger returns the request with a logger, which adds the request's number: req=1.
func withLogger(r *http.Request, log *slog.Logger) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), loggerKey{}, log))
}

// logger returns the logger that withLogger has put into the context.
func logger(ctx context.Context) *slog.Logger { return ctx.Value(loggerKey{}).(*slog.Logger) }

// You can skip the rest of this file: it only finds the line of the source for the log.

// logRefusal writes a line about an answer that refuses a request. log.Debug would name the line in
// logRefusal that calls it. To name the line that called refuse, we put the entry together by hand.
func logRefusal(ctx context.Context, answer *httpError) {
	log := logger(ctx)
	if !log.Enabled(ctx, answer.level) { // without -v
		return
	}
	entry := slog.NewRecord(time.Now(), answer.level, "refused the request", answer.caller)
	entry.Add("status", answer.status, "detail", answer.detail)
	if answer.reason != "" {
		entry.Add("reason", answer.reason)
	}
	log.Handler().Handle(ctx, entry) // this writes the line
}

// callerOfCaller returns the place in the source that has called refuse.
func callerOfCaller() uintptr {
	var places [1]uintptr
	runtime.Callers(3, places[:]) // 0 is Callers, 1 this function, 2 refuse, 3 the caller of refuse
	return places[0]
}
