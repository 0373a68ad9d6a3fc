package main

// The tests use HTTP, the users file and the program, as users do. The helpers are at the end.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// The lesson

const (
	asJSON, asForm = "application/json", "application/x-www-form-urlencoded"

	password     = "plaintextpassword"
	lessonSignup = `{"username":"enrico","email":"enrico@example.com","hashed_password":"plaintextpassword"}`

	userExists   = `{"detail":"Username already exists"}`
	wrongLogin   = `{"detail":"Invalid credentials","error":"invalid_grant"}`
	wrongToken   = `{"detail":"Could not validate credentials"}`
	noToken      = `{"detail":"Not authenticated"}`
	notStored    = `{"detail":"Users cannot be stored just now"}`
	tooBusy      = `{"detail":"Too busy just now"}`
	tooManyTries = `{"detail":"Too many failed log-ins"}`
)

// TestLesson sends each row to the service that the rows above have left behind.
func TestLesson(t *testing.T) {
	s := newService(t)
	const signup, login = "/auth/signup", "/auth/login"
	const created, loggedIn = `{"message":"User created","user_id":%}`, `{"message":"Login successful","user_id":%,"access_token":"@","token_type":"bearer","expires_in":3600}`
	for _, row := range []struct {
		name, path, body string
		status           int
		want             string // % is any number, @ any token
	}{
		{"the lesson's sign-up", signup, lessonSignup, 201, `{"message":"User created","user_id":1}`},
		{"again", signup, lessonSignup, 400, userExists},
		{"in other letters", signup, `{"username":"EnRiCo","email":"x@example.com","password":"other-password"}`, 400, userExists},
		{"the same e-mail", signup, `{"username":"anna","email":"enrico@example.com","password":"plaintextpassword"}`, 201, `{"message":"User created","user_id":2}`},
		{"both passwords, equal", signup, `{"username":"a3","email":"a@b","password":"plaintextpassword","hashed_password":"plaintextpasswor\u0064"}`, 201, created},
		{"members of the client's choice", signup, `{"username":"a4","email":"a@b","password":"plaintextpassword","id":77,"is_active":false,"role":"x"}`, 201, `{"message":"User created","user_id":4}`},
		{"an id of 2**63", signup, `{"username":"a6","email":"a@b","password":"plaintextpassword","id":9223372036854775808}`, 201, created},
		{"log in", login, "username=enrico&password=plaintextpassword", 200, loggedIn},
		{"not made inactive", login, "username=a4&password=plaintextpassword", 200, loggedIn},
		{"wrong password", login, "username=enrico&password=wrong", 401, wrongLogin},
		{"unknown user", login, "username=nobody&password=wrong", 401, wrongLogin},
		{"a Turkish dotted I", login, "username=enr%C4%B0co&password=plaintextpassword", 401, wrongLogin},
		{"all of OAuth's parameters", login, "grant_type=password&username=enrico&password=plaintextpassword&scope=a+b&client_id=c&client_secret=d", 200, loggedIn},
		{"unknown parameters, repeated", login, "grant_type=&username=ENRICO&password=plaintextpassword&foo=1&foo=2", 200, loggedIn},
		{"every kind of character", signup, `{"username":"a.b_c-d@z+f","email":"a+b&c=d@example.com","password":" +&=%ü☃ \" "}`, 201, created},
		{"its log-in", login, "username=A.b_c-d%40Z%2Bf&password=+%2B%26%3D%25%C3%BC%E2%98%83+%22+", 200, loggedIn},
		{"nothing is trimmed", login, "username=a.b_c-d%40z%2Bf&password=%2B%26%3D%25%C3%BC%E2%98%83+%22", 401, wrongLogin},
		{"an emoji with joiners", signup, `{"username":"joiner","email":"a@b","password":"👩‍👩‍👧 12345"}`, 201, created},
		{"the Kelvin sign", login, "username=%E2%84%AAoiner&password=x", 401, wrongLogin},
		{"a semicolon", signup, `{"username":"semi","email":"a@b","password":"plain;password"}`, 201, created},
		{"a semicolon as it is", login, "username=semi&password=plain;password", 200, loggedIn},
		{"shortest", signup, `{"username":"x","email":"a@b","password":"eight ch"}`, 201, created},
		{"longest", signup, `{"username":"` + strings.Repeat("x", 64) + `","email":"` + strings.Repeat("x", 242) + `@example.com","password":"` + strings.Repeat("ü", 36) + `"}`, 201, created},
		{"other alphabets", signup, `{"username":"y","email":"ünï@exämple.com","password":"пароль-123"}`, 201, created},
	} {
		t.Run(row.name, func(t *testing.T) {
			contentType := map[string]string{signup: asJSON, login: asForm}[row.path]
			a := s.do(t, "POST", row.path, row.body, "Content-Type", contentType, "Authorization", "Basic Y2xpZW50OnNlY3JldA==")
			want := strings.NewReplacer("%", `\d+`, "@", `[\w-]+\.[\w-]+\.[\w-]+`).Replace(regexp.QuoteMeta(row.want))
			if a.status != row.status || !regexp.MustCompile("^"+want+"$").MatchString(a.body) {
				t.Errorf("%d %s, want %d %s", a.status, a.body, row.status, row.want)
			}
		})
	}
	s.login(t, "enrico", "wrong").header(t, "WWW-Authenticate", `Bearer realm="auth"`)
	token := s.token(t, "enrico", password)
	me := func(authorization string) answer {
		return s.do(t, "GET", "/auth/me", "", "Authorization", authorization)
	}
	me("Bearer "+token).is(t, 200, `{"id":1,"username":"enrico","email":"enrico@example.com","is_active":true}`)
	me("bEARER   "+token).contains(t, 200, `"username":"enrico"`)
	me("").is(t, 401, noToken).header(t, "WWW-Authenticate", `Bearer realm="auth"`)
	me("Basic "+token).is(t, 401, noToken)
	me("Bearer x").is(t, 401, wrongToken).header(t, "WWW-Authenticate", `Bearer realm="auth", error="invalid_token"`)
}

// TestSignupFaults expects all faults at once, and no echo.
func TestSignupFaults(t *testing.T) {
	s := newService(t)
	user := func(username, email, password string) string {
		text, _ := json.Marshal(map[string]string{"username": username, "email": email, "password": password})
		return string(text)
	}
	const mail = "enrico@example.com"
	for _, row := range []struct{ name, body, want string }{
		{"no body", ``, `missing body`},
		{"an array", `[]`, `model_attributes_type body`},
		{"null", `null`, `model_attributes_type body`},
		{"no JSON", `username=enrico`, `json_invalid body.0`},
		{"a second document", lessonSignup + ` {}`, `json_invalid body.89`},
		{"too deep", `{"a":` + strings.Repeat("[", 10_001), `json_invalid body.10004`},
		{"invalid UTF-8", user("enrico", mail, "plaintext")[:60] + "\xff\"}", `json_invalid body`},
		{"other types", `{"username":7,"email":true,"password":null}`, `string_type body.username, string_type body.email, string_type body.password`},
		{"members in other letters", `{"Username":"enrico","EMAIL":"enrico@example.com","Password":"plaintextpassword"}`, `missing body.username, missing body.email, missing body.password`},
		{"all empty", user("", "", ""), `string_too_short body.username, value_error body.email, string_too_short body.password`},
		{"a blank name", user(" ", mail, password), `string_pattern_mismatch body.username`},
		{"a name of 65", user(strings.Repeat("x", 64)+"!", mail, password), `string_too_long body.username, string_pattern_mismatch body.username`},
		{"a password of 7", user("enrico", mail, "sevench"), `string_too_short body.password`},
		{"a password of 73 bytes", user("enrico", mail, "x"+strings.Repeat("ü", 36)), `string_too_long body.password`},
		{"a short password with NUL", user("enrico", mail, "a\x00"), `string_too_short body.password, value_error body.password`},
		{"half a surrogate pair", `{"username":"enrico","email":"\udfff@example.com","password":"abcdefgh\ud800"}`, `value_error body.email, value_error body.password`},
		{"the lesson's field, too short", `{"username":"enrico","email":"enrico@example.com","hashed_password":"short"}`, `string_too_short body.hashed_password`},
		{"both fields, different", `{"username":"enrico","email":"enrico@example.com","hashed_password":"plaintextpassword","password":"plaintextpassworD"}`, `value_error body.hashed_password`},
		{"a display name", user("enrico", "Enrico <enrico@example.com>", password), `value_error body.email`},
		{"a domain literal", user("enrico", "enrico@[127.0.0.1]", password), `value_error body.email`},
		{"a right-to-left mark", user("enrico", "enrico\u202e@example.com", password), `value_error body.email`},
		{"an e-mail of 255", user("enrico", strings.Repeat("x", 243)+"@example.com", password), `string_too_long body.email`},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := s.signup(t, row.body).faults(t, row.want)
			if strings.Contains(a.body, "enrico") || strings.Contains(a.body, "plaintext") {
				t.Errorf("the answer repeats the input: %s", a.body)
			}
		})
	}
	if _, err := os.Stat(s.path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused sign-up made the file: %v", err)
	}
}

func TestLoginFaults(t *testing.T) {
	s := newService(t)
	for _, row := range []struct{ name, body, error, want string }{
		{"no body", ``, "invalid_request", `missing body.username, missing body.password`},
		{"two usernames", `username=enrico&username=enrico&password=x`, "invalid_request", `value_error body.username`},
		{"two passwords, one %-encoded", `username=enrico&password=x&pass%77ord=y`, "invalid_request", `value_error body.password`},
		{"all others twice", `username=enrico&password=x&scope=&scope=&client_id=&client_id=&client_secret=&client_secret=&grant_type=&grant_type=`, "invalid_request",
			`value_error body.grant_type, value_error body.scope, value_error body.client_id, value_error body.client_secret`},
		{"wrong %-encoding", `username=%zz&password=x`, "invalid_request", `value_error body`},
		{"another grant", `grant_type=enrico&username=enrico`, "unsupported_grant_type", `missing body.password, string_pattern_mismatch body.grant_type`},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := s.do(t, "POST", "/auth/login?username=enrico&password=plaintextpassword", row.body, "Content-Type", asForm).faults(t, row.want)
			if !strings.HasSuffix(a.body, `],"error":"`+row.error+`"}`) || strings.Contains(a.body, "enrico") {
				t.Error(a.body)
			}
		})
	}
}

// Requests and answers

func TestEveryPath(t *testing.T) {
	s := newService(t)
	s.signUp(t, "enrico")
	const signup, login = "POST /auth/signup\r\nContent-Type: application/json", "POST /auth/login\r\nContent-Type: application/x-www-form-urlencoded"
	const jsonOnly, formOnly = "Content-Type must be application/json", "Content-Type must be application/x-www-form-urlencoded"
	const notFound, notAllowed, crossOrigin = "Not Found", "Method Not Allowed", "Cross-origin request refused"
	const tooLarge = "Body must be at most 65536 bytes"
	for _, row := range []struct {
		name, request, body string
		status              int
		detail              string
	}{
		{"no such path", "GET /nosuch", "", 404, notFound},

		{"no type", "POST /auth/signup", lessonSignup, 415, jsonOnly},
		{"a type with parameters", "POST /auth/signup\r\nContent-Type: Application/JSON; charset=UTF-8", lessonSignup, 400, "Username already exists"},
		{"multipart", "POST /auth/login\r\nContent-Type: multipart/form-data; boundary=x", "--x--", 415, formOnly},

		{"largest", signup, strings.Repeat(" ", 64<<10-len(lessonSignup)) + lessonSignup, 400, "Username already exists"},
		{"too large", signup, strings.Repeat(" ", 64<<10+1-len(lessonSignup)) + lessonSignup, 413, tooLarge},
		{"merely claimed", signup + "\r\nContent-Length: 10000000000\r\nExpect: 100-continue", "", 413, tooLarge},
		{"too large in chunks", login + "\r\nTransfer-Encoding: chunked", "10001\r\n" + strings.Repeat("x", 0x10001) + "\r\n0\r\n\r\n", 413, tooLarge},
		{"a broken chunk", login + "\r\nTransfer-Encoding: chunked", "zz\r\n", 400, "Body could not be read to its end"},

		{"another origin", signup + "\r\nOrigin: http://evil.example", lessonSignup, 403, crossOrigin},
		{"another site", login + "\r\nSec-Fetch-Site: same-site", "", 403, crossOrigin},
		{"the same origin", signup + "\r\nSec-Fetch-Site: same-origin", lessonSignup, 400, "Username already exists"},
	} {
		t.Run(row.name, func(t *testing.T) {
			want := `{"detail":"` + row.detail + `"}`
			a := s.raw(t, row.request, row.body).is(t, row.status, want)
			a.header(t, "Content-Type", asJSON).header(t, "X-Content-Type-Options", "nosniff").
				header(t, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'").header(t, "Access-Control-Allow-Origin", "").header(t, "Vary", "")
			if strings.Contains(row.request, " /auth/") {
				a.header(t, "Cache-Control", "no-store")
			}
			method, _, _ := strings.Cut(row.request, " ")
			if allow := a.headers.Get("Allow"); (a.status == 405) != (allow != "") || strings.Contains(allow, method) {
				t.Errorf("Allow: %q", allow)
			}
		})
	}
	s.raw(t, "GET /healthz\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: cross-site", "").is(t, 200, `{"status":"ok"}`)
	s.raw(t, "HEAD /healthz", "").is(t, 200, "").header(t, "Cache-Control", "")
	for path, location := range map[string]string{"/": "/docs", "//nosuch": "/nosuch", "//auth/../healthz?x=1": "/healthz?x=1"} {
		s.raw(t, "GET "+path, "").contains(t, 307, "Temporary Redirect</a>").header(t, "Location", location).
			header(t, "Content-Type", "text/html; charset=utf-8")
	}
}

func TestOrigins(t *testing.T) {
	const front, other = "http://localhost:5173", "http://localhost:5174"
	s := newService(t, "https://front.example", front)
	preflight := func(path, origin string) answer {
		return s.do(t, "OPTIONS", path, "", "Origin", origin, "Access-Control-Request-Method", "POST")
	}
	preflight("/auth/signup", front).is(t, 204, "").header(t, "Access-Control-Allow-Methods", "GET, POST").
		header(t, "Access-Control-Allow-Headers", "Authorization, Content-Type")
	preflight("/auth/me", front).is(t, 204, "").header(t, "Access-Control-Allow-Methods", "GET, POST")
	preflight("/auth/me", other).is(t, 403, `{"detail":"Cross-origin request refused"}`).header(t, "Access-Control-Allow-Methods", "")
	s.logged(t, `reason="-allow-origin does not name `+other)
	preflight("/nosuch", front).is(t, 204, "").header(t, "Access-Control-Allow-Origin", front)
	from := func(method, path, body, origin string) answer {
		return s.do(t, method, path, body, "Content-Type", asJSON, "Origin", origin, "Sec-Fetch-Site", "cross-site").header(t, "Vary", "Origin")
	}
	from("POST", "/auth/signup", strings.ReplaceAll(lessonSignup, "enrico", "front"), front).contains(t, 201, "User created")
	for _, a := range []answer{from("POST", "/auth/signup", lessonSignup, front), from("GET", "/auth/me", "", front), from("POST", "/auth/login", "", front)} {
		a.header(t, "Access-Control-Allow-Origin", front).header(t, "Access-Control-Allow-Credentials", "").
			header(t, "Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
	}
	for _, origin := range []string{other, "null", front + ".evil.example", "HTTP://LOCALHOST:5173", ""} {
		from("GET", "/healthz", "", origin).header(t, "Access-Control-Allow-Origin", "")
		from("POST", "/auth/signup", lessonSignup, origin).is(t, 403, `{"detail":"Cross-origin request refused"}`).header(t, "Access-Control-Allow-Origin", "")
	}
}

// Tokens

// TestRFC7515 signs the example of RFC 7515, appendix A.1.
func TestRFC7515(t *testing.T) {
	key, err := base64.RawURLEncoding.DecodeString("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	must(t, err)
	const unsigned = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	if got, want := signature(key, unsigned), "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"; got != want {
		t.Errorf("the signature is %s, and the RFC has %s", got, want)
	}
}

// TestForgedTokens changes, respells and forges tokens.
func TestForgedTokens(t *testing.T) {
	s := newService(t)
	s.signUp(t, "enrico")
	good := s.token(t, "enrico", password)
	parts := strings.Split(good, ".")
	decoded, _ := base64.RawURLEncoding.DecodeString(parts[1])
	payload := string(decoded)
	if !regexp.MustCompile(`^{"sub":"1","iat":\d{10},"exp":\d{10},"pwd":"[\w-]{11}"}$`).MatchString(payload) {
		t.Errorf("payload %s", payload)
	}
	// Every JWT library signs like this.
	signText := func(unsigned, key string) string {
		mac := hmac.New(sha256.New, []byte(key))
		mac.Write([]byte(unsigned))
		return unsigned + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	sign := func(header, payload, key string) string {
		return signText(base64.RawURLEncoding.EncodeToString([]byte(header))+"."+base64.RawURLEncoding.EncodeToString([]byte(payload)), key)
	}
	const key, header = "the key", `{"alg":"HS256","typ":"JWT"}`
	if other := sign(header, payload, key); other != good {
		t.Fatalf("got  %s\nwant %s", good, other)
	}
	// claim adds a claim: the last one of a name counts.
	claim := func(more string) string { return sign(header, strings.TrimSuffix(payload, "}")+","+more+"}", key) }
	// respell sets an unused bit of the last character.
	respell := func(part string) string {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		return part[:len(part)-1] + string(alphabet[strings.IndexByte(alphabet, part[len(part)-1])^1])
	}
	without := func(pattern, now string) string {
		return sign(header, regexp.MustCompile(pattern).ReplaceAllString(payload, now), key)
	}
	forged := map[string]string{
		"alg none":            sign(`{"alg":"none"}`, payload, key),
		"alg hs256":           sign(`{"alg":"hs256"}`, payload, key),
		"alg missing":         sign(`{"typ":"JWT"}`, payload, key),
		"another spelling":    sign(`{"typ":"JWT","alg":"HS256"}`, payload, key),
		"crit":                sign(`{"alg":"HS256","crit":["b64"],"b64":false}`, payload, key),
		"an empty key":        sign(header, payload, ""),
		"no signature":        parts[0] + "." + parts[1] + ".",
		"two parts":           parts[0] + "." + parts[1],
		"two parts, signed":   signText(parts[1], key),
		"four parts":          good + "." + parts[2],
		"padding":             good + "=",
		"signature respelled": respell(good),
		"no exp":              without(`"exp":\d+,`, ""),
		"exp a string":        claim(`"exp":"9999999999"`),
		"sub of nobody":       claim(`"sub":"2"`),
		"sub a number":        claim(`"sub":1`),
		"sub out of range":    claim(`"sub":"9223372036854775808"`),
		"another fingerprint": claim(`"pwd":"AAAAAAAAAAA"`),
	}
	for i := range len(good) {
		forged[fmt.Sprint("byte ", i)] = good[:i] + string(good[i]^1) + good[i+1:]
	}
	for name, token := range forged {
		t.Run(name, func(t *testing.T) {
			s.me(t, token).is(t, 401, wrongToken).header(t, "WWW-Authenticate", `Bearer realm="auth", error="invalid_token"`)
		})
	}
	s.me(t, claim(`"role":"x"`)).contains(t, 200, `"id":1`)
}

func TestTokenTime(t *testing.T) {
	now := time.Unix(1_800_000_000, 999_000_000)
	s := newService(t)
	s.server.now = func() time.Time { return now }
	s.signUp(t, "enrico")
	token := s.token(t, "enrico", password)
	s.me(t, token).contains(t, 200, `"enrico"`)
	now = time.Unix(1_800_003_599, 999_000_000)
	s.me(t, token).contains(t, 200, `"enrico"`)
	now = time.Unix(1_800_003_600, 0)
	s.me(t, token).is(t, 401, wrongToken)
	s.logged(t, "the token has expired")
	if payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1]); !strings.HasPrefix(string(payload), `{"sub":"1","iat":1800000000,"exp":1800003600,`) {
		t.Errorf("payload %s", payload)
	}
}

// TestVoidTokens edits the account: its token is void until the edit is undone.
func TestVoidTokens(t *testing.T) {
	s := newService(t)
	s.signUp(t, "enrico")
	s.signUp(t, "anna")
	token := s.token(t, "enrico", password)
	before := readFile(t, s.path)
	hash := bcryptText.FindString(before)
	const removed, changed = "the user was removed", "the user's name or password has changed since"
	for _, row := range []struct{ name, old, new, reason string }{ // in the file, old becomes new
		{"disabled", `true}`, `false}`, "the user is disabled"},
		{"removed", `"id":1,`, `"id":3,`, removed},
		{"all removed", before, "[]", removed},
		{"another password", hash, newHash(t, "other", 4), changed},
		{"renamed", `"enrico"`, `"enrica"`, changed},
	} {
		t.Run(row.name, func(t *testing.T) {
			writeFile(t, s.path, strings.Replace(before, row.old, row.new, 1))
			s.me(t, token).is(t, 401, wrongToken)
			s.logged(t, row.reason)
			writeFile(t, s.path, before)
			s.me(t, token).contains(t, 200, "enrico@")
		})
	}
	writeFile(t, s.path, strings.Replace(before, "enrico@", "other@", 1))
	s.me(t, token).contains(t, 200, "other@")
	writeFile(t, s.path, "[]")
	s.signUp(t, "carla") // gets the id of enrico
	s.me(t, token).is(t, 401, wrongToken)
}

// Passwords

// TestSameWork expects the same number of rounds for each attempt, and its reason in the log.
func TestSameWork(t *testing.T) {
	s := newService(t)
	s.server.store.cost = 5
	var users []string
	add := func(name, password string, cost int) {
		hash := newHash(t, password, cost)
		if strings.HasPrefix(name, "$2") {
			hash = name + hash[3:]
		}
		users = append(users, fmt.Sprintf(`{"id":%d,"username":%q,"email":"a@b","hashed_password":%q,"is_active":%v}`,
			len(users)+1, name, hash, name != "disabled"))
		writeFile(t, s.path, "["+strings.Join(users, ",")+"]")
	}
	longest := strings.Repeat("x", 72)
	add("enrico", password, 5)
	add("cheap", password, 4)
	add("cyclic", "abcdefgh", 5)
	add("longest", longest, 5)
	add("$2b", password, 5) // passlib
	add("$2y", password, 5) // htpasswd
	add("disabled", password, 5)
	attempt := func(username, password, reason string, rounds int) {
		t.Run(fmt.Sprintf("%.9s %.17q %d", username, password, rounds), func(t *testing.T) {
			before := len(s.log.String())
			if a := s.login(t, username, password); reason == "" {
				a.contains(t, 200, `"Login successful"`)
			} else {
				a.is(t, 401, wrongLogin).header(t, "WWW-Authenticate", `Bearer realm="auth"`)
			}
			log := s.log.String()[before:]
			if !strings.Contains(log, fmt.Sprintf(" rounds=%d ", rounds)) || !strings.Contains(log, reason) {
				t.Errorf("not %d rounds, or not %q: %s", rounds, reason, log)
			}
		})
	}
	for _, row := range [][3]string{
		{"enrico", password}, {"cheap", password}, {"cyclic", "abcdefgh"}, {"longest", longest}, {"$2b", password}, {"$2y", password},
		{"enrico", "wrong", `reason="wrong password"`},
		{"enrico", password + " ", `reason="wrong password"`},
		{"cheap", "wrong", `reason="wrong password"`},
		{"nobody", password, `reason="unknown user"`},
		{"enrico ", password, `reason="unknown user"`},
		{strings.Repeat("x", 60_000), password, `reason="unknown user"`},
		{"disabled", password, `reason="disabled user"`},
	} {
		attempt(row[0], row[1], row[2], 32)
	}

	// bcrypt can't tell these from the right password, so it isn't asked.
	before := strings.Count(s.log.String(), " rounds=")
	for _, row := range [][2]string{{"longest", longest + "x"}, {"longest", longest + "\xff"}, {"cyclic", "abcdefgh\x00abcdefgh"}, {"nobody", longest + "x"}} {
		s.login(t, row[0], row[1]).is(t, 401, wrongLogin).header(t, "WWW-Authenticate", `Bearer realm="auth"`)
	}
	if log := s.log.String(); strings.Count(log, `reason="no user can have this password"`) != 4 || strings.Count(log, " rounds=") != before {
		t.Errorf("bcrypt was asked, or the reason is missing:\n%s", log)
	}
	if strings.Contains(s.log.String(), "level=WARN") {
		t.Error("a warning came too early")
	}
	add("dear", password, 6)
	for _, name := range []string{"enrico", "dear", "cheap"} {
		attempt(name, password, "", 64)
	}
	attempt("nobody", password, `reason="unknown user"`, 64)
	s.logged(t, `msg="a stored hash costs more than -cost: every log-in takes that long" highest=6`)
}

// TestBcryptError: the log says what failed, the client isn't told.
func TestBcryptError(t *testing.T) {
	s := newService(t)
	s.server.store.cost = 40
	s.signup(t, lessonSignup).is(t, 500, `{"detail":"Internal Server Error"}`)
	s.logged(t, `level=ERROR msg="refused the request" req=1 status=500 detail="Internal Server Error" reason="crypto/bcrypt: cost 40`)
}

// The users file

// TestCrash kills the program while clients sign up. All who were told 201 are in the file.
func TestCrash(t *testing.T) {
	secret := "AUTH_SECRET=" + strings.Repeat("s", 32)
	p := start(t, "-cost", "4", secret)
	p.signup(t, lessonSignup).is(t, 201, `{"message":"User created","user_id":1}`)
	if text := readFile(t, p.path); !regexp.MustCompile(`^\[\n{"id":1,"username":"enrico","email":"enrico@example.com","hashed_password":"\$2a\$04\$[^"]{53}","is_active":true}\n\]\n$`).MatchString(text) {
		t.Errorf("the file is\n%s", text)
	}
	token := p.token(t, "enrico", password)
	for round := range 4 {
		created := make(chan string, 4000)
		go together(4, func(client int) int {
			for i := range 1000 {
				name := fmt.Sprintf("u%d-%d-%d", round, client, i)
				a, err := p.try("POST", "/auth/signup", strings.ReplaceAll(lessonSignup, "enrico", name), "Content-Type", asJSON)
				if err != nil {
					return 0 // killed
				}
				a.is(t, 201, a.body)
				created <- name
			}
			return 0
		})
		await(t, "some sign-ups", func() bool { return len(created) > 5+11*round })
		p.kill()
		text := readFile(t, p.path)
		for range len(created) {
			if name := <-created; !strings.Contains(text, `"`+name+`"`) {
				t.Errorf("%s was told 201, and the file is\n%s", name, text)
			}
		}
		p = start(t, "-cost", "4", "-users", p.path, secret)
		if entries, _ := os.ReadDir(filepath.Dir(p.path)); len(entries) != 1 {
			t.Errorf("a temporary file stays: %v", entries)
		}
		p.me(t, token).contains(t, 200, `"enrico"`)
	}
	p.kill()
	start(t, "-users", p.path, "AUTH_SECRET="+strings.Repeat("o", 32)).me(t, token).is(t, 401, wrongToken)
}

// TestBrokenEdits expects a fault to be logged once, and the edit neither used nor overwritten.
func TestBrokenEdits(t *testing.T) {
	hash := newHash(t, password, 4)
	one := `{"id":1,"username":"enrico","email":"e@example.com","hashed_password":"` + hash + `","is_active":true}`
	two := strings.NewReplacer(`"id":1`, `"id":2`, "enrico", "anna").Replace(one)
	users := strings.NewReplacer("ONE", one, "TWO", two)
	both := users.Replace("[\nONE,\nTWO\n]\n")
	for _, row := range []struct{ name, old, new, want string }{ // in both users, old becomes new
		{"empty", both, "", `line 1: not valid JSON: unexpected end of JSON input`},
		{"half a document", two[20:] + "\n]\n", "", `line 3: not valid JSON`},
		{"no bracket", "]", "", `line 4: not valid JSON: unexpected end of JSON input`},
		{"a comma too many", two, "", `line 4: not valid JSON`},
		{"two commas", ",\n", ",\n,\n", `line 3: not valid JSON`},
		{"a comma missing", ",\n", "\n", `line 3: not valid JSON`},
		{"a second document", "]\n", "]\n[]\n", `line 5: not valid JSON: invalid character`},
		{"an object", both, one, `line 1: not an array of users; an empty one is []`},
		{"null alone", both, "null", `line 1: null is not an array of users; an empty one is []`},
		{"null", two, "null", `user 2 (""): id`},
		{"duplicate ids", `"id":2`, `"id":1`, `user 2 ("anna"): id is missing, below 1, or used twice`},
		{"duplicate names", `{"id":2,"username":"anna"`, "\n" + ` {"id":2,"username":"ENRICO"`, `user 2 ("ENRICO"): username`},
		{"an id of 1.5", `"id":1`, `"id":1.5`, `line 2: id has the wrong type: number 1.5`},
		{"no name", `"anna"`, `""`, `user 2 (""): username`},
		{"no e-mail", `"e@example.com"`, `""`, `user 1 ("enrico"): email is missing`},
		{"a password", hash, password, `user 1 ("enrico"): hashed_password`},
		{"a hash too short", hash, hash[:59], `user 1 ("enrico"): hashed_password`},
		{"a hash of another alphabet", hash, hash[:59] + "!", `user 1 ("enrico"): hashed_password`},
		{"a hash that takes hours", "$04$", "$31$", `user 1 ("enrico"): hashed_password`},
		{"is_active misspelt", "is_active", "isactive", `user 1 ("enrico"): is_active`},
		{"Latin-1", "anna", "\xfc", `line 3: not UTF-8: save the file as UTF-8`},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newService(t)
			writeFile(t, s.path, both)
			token := s.token(t, "enrico", password)
			text := strings.Replace(both, row.old, row.new, 1)
			writeFile(t, s.path, text)
			for range 2 {
				s.me(t, token).contains(t, 200, `"e@example.com"`)
				s.signup(t, lessonSignup).is(t, 503, notStored).header(t, "Retry-After", "5")
			}
			want := s.path + ": " + row.want
			if log := strings.ReplaceAll(s.log.String(), `\"`, `"`); strings.Count(log, want) != 1 || strings.Contains(log, hash) || strings.Contains(log, password) {
				t.Errorf("the log has not %s once:\n%s", want, log)
			}
			if s.server.store.stamp == nil {
				t.Error("the faulty file is read again at each look")
			}
			if _, err := openStore(s.path, 4, discard); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("at the start: %v", err)
			}
			if readFile(t, s.path) != text {
				t.Error("the edit was overwritten")
			}
			writeFile(t, s.path, both)
			if status := s.signUp(t, "carla"); status != 201 {
				t.Errorf("mended, sign-up gets %d", status)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "users.json")
	for n := range strings.TrimSpace(both) {
		writeFile(t, path, both[:n])
		if _, err := openStore(path, 4, discard); err == nil {
			t.Fatalf("cut at %d: no error", n)
		}
	}
	// If its time grew with the square of the size, this would take an hour.
	text := manyUsers(t, path, 50_000)
	text = bytes.Replace(text, []byte(`"id":50000,`), []byte(`"id":49999,`), 1)
	if _, err := parse(text, 4); err == nil || !strings.HasPrefix(err.Error(), `user 50000 ("user50000"): id`) {
		t.Error(err)
	}
}

// TestEdits edits the file as editors do. The next request sees it, and a sign-up keeps it.
func TestEdits(t *testing.T) {
	for name, edit := range map[string]func(path, text string) error{
		"truncate and write (VS Code, nano)": func(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) },
		"write and rename (vim, sed -i)": func(path, text string) error {
			return errors.Join(os.WriteFile(path+"~", []byte(text), 0o600), os.Rename(path+"~", path))
		},
		"move away and write": func(path, text string) error {
			return errors.Join(os.Rename(path, path+"~"), os.WriteFile(path, []byte(text), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			s.signUp(t, "enrico")
			token := s.token(t, "enrico", password)
			mails := regexp.MustCompile(`\w+@example.com`)
			for i := range 24 {
				time.Sleep(20 * time.Millisecond) // two edits within a tick of the file's clock: the second may be seen late
				mail := fmt.Sprintf("mail%02d@example.com", i)
				must(t, edit(s.path, mails.ReplaceAllString(readFile(t, s.path), mail)))
				s.me(t, token).contains(t, 200, mail)
				if i%3 == 0 && s.signUp(t, fmt.Sprint("user", i)) != 201 || !strings.Contains(readFile(t, s.path), mail) {
					t.Fatalf("after an edit and a sign-up:\n%s", readFile(t, s.path))
				}
			}
		})
	}
}

// TestStamps: a stamp is that of a file, its size and its time.
func TestStamps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.json")
	stamp := func(name, text string, second int64) fs.FileInfo {
		writeFile(t, path+name, text)
		must(t, os.Chtimes(path+name, time.Unix(second, 0), time.Unix(second, 0)))
		info, err := os.Stat(path + name)
		must(t, err)
		return info
	}
	first := stamp("", "[]", 1)
	for name, other := range map[string]fs.FileInfo{
		"another size": stamp("", "[ ]", 1), "another time": stamp("", "[]", 2), "another file": stamp("~", "[]", 1), "no file": nil,
	} {
		if sameStamp(first, other) || sameStamp(other, first) {
			t.Errorf("%s has the same stamp", name)
		}
	}
	if !sameStamp(first, stamp("", "[]", 1)) || !sameStamp(nil, nil) {
		t.Error("the same file has another stamp")
	}
}

// TestSnapshot checks that a save changes no snapshot that a request may still read.
func TestSnapshot(t *testing.T) {
	s := newStore(t, discard)
	before := s.current()
	_, err := s.create(t.Context(), user{Username: "enrico", Email: "a@b", HashedPassword: newHash(t, password, 4)})
	must(t, err)
	if len(before.byID) != 0 || len(before.byName) != 0 || before.maxID != 0 || string(before.text) != "[]" {
		t.Errorf("the old snapshot is %+v", before)
	}
	if u := s.current().named("Enrico"); u == nil || u.ID != 1 {
		t.Error("the new snapshot has no user")
	}
}

// TestFaultEnds: a look has met a fault during a save. The save ends it.
func TestFaultEnds(t *testing.T) {
	s := newStore(t, discard)
	before := s.current()
	s.readErr = errors.New("half of an edit")
	must(t, s.save(before, before.withUser(&user{ID: 1, Username: "enrico", HashedPassword: newHash(t, password, 4)})))
	if users, err := s.look(); err != nil || users.named("enrico") == nil {
		t.Errorf("after the save: %v, %v", users.named("enrico"), err)
	}
}

// TestUnseenEdit edits the file so that its stamp stays the same. A sign-up does not overwrite the edit.
func TestUnseenEdit(t *testing.T) {
	s := newService(t)
	s.signUp(t, "enrico")
	old := time.Now().Add(-time.Hour).Truncate(time.Second)
	must(t, os.Chtimes(s.path, old, old))
	token := s.token(t, "enrico", password)
	edited := strings.Replace(readFile(t, s.path), "enrico@", "edited@", 1)
	writeFile(t, s.path, edited)
	must(t, os.Chtimes(s.path, old, old))
	s.me(t, token).contains(t, 200, "enrico@")
	s.signup(t, strings.ReplaceAll(lessonSignup, "enrico", "anna")).is(t, 503, notStored)
	if readFile(t, s.path) != edited {
		t.Error("the edit was overwritten")
	}
	s.me(t, token).contains(t, 200, "edited@")
	if status := s.signUp(t, "anna"); status != 201 {
		t.Errorf("then sign-up gets %d", status)
	}
}

// TestGone takes the file away for a while. Nobody is forgotten.
func TestGone(t *testing.T) {
	s := newService(t)
	s.signUp(t, "enrico")
	token := s.token(t, "enrico", password)
	step := func(err error, status int, logged string) {
		t.Helper()
		s.me(t, token).contains(t, 200, `"enrico"`)
		if got := s.signUp(t, "enrico"); got != status || err != nil {
			t.Errorf("sign-up gets %d, want %d (%v)", got, status, err)
		}
		s.logged(t, logged)
	}
	step(os.Rename(s.path, s.path+"~"), 503, "users.json is gone: put it back, or begin without users: echo '[]' > ")
	step(os.Mkdir(s.path, 0o700), 503, "users.json is not a file, but a folder, a pipe or a device")
	if n := strings.Count(s.log.String(), "users file can't be read: log-ins"); n != 2 {
		t.Errorf("two faults are logged %d times", n)
	}
	step(errors.Join(os.Remove(s.path), os.Rename(s.path+"~", s.path)), 400, `msg="read the users file" users=1`)
	writeFile(t, s.path, "[]")
	s.me(t, token).is(t, 401, wrongToken)
	must(t, os.Remove(s.path))
	if status := s.signUp(t, "anna"); status != 201 {
		t.Errorf("without file and users: %d", status)
	}
}

// TestHandWritten checks that a save keeps what a person wrote.
func TestHandWritten(t *testing.T) {
	s := newService(t)
	text := strings.Replace("[\r\n  {\r\n \"note\":\"<b>\\u00fc ]\",\t\"id\": 7,\"username\":\"Enrico\",\"email\":\"e@b\",\r\n"+
		`"hashed_password":"HASH","is_active":true,"tags":[1.50,{"a":null}]}`, "HASH", newHash(t, password, 4), 1)
	writeFile(t, s.path, "\ufeff"+text+"\r\n ]\r\n\r\n")
	s.login(t, "enrico", password).contains(t, 200, `"user_id":7`)
	s.signUp(t, "anna")
	s.signUp(t, "carla")
	want := text + ",\n" + `{"id":8,"username":"anna",…,"is_active":true}` + ",\n" + `{"id":9,"username":"carla",…,"is_active":true}` + "\n]\n"
	if got := regexp.MustCompile(`"email":"\w+@example.*?"\$.*?"`).ReplaceAllString(readFile(t, s.path), "…"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	writeFile(t, s.path, strings.Replace(text, `"id": 7`, `"id": 9223372036854775807`, 1)+"]")
	if status := s.signUp(t, "dora"); status != 503 {
		t.Errorf("sign-up without a free id: %d", status)
	}
	s.logged(t, "no id is left after 9223372036854775807")
}

// TestModesAndLinks checks modes, links and refusals.
func TestModesAndLinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs modes, links and pipes")
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, umask := range []string{"000", "077"} {
		p := start(t, "-cost", "4", "-users", at(umask), "UMASK="+umask)
		for _, name := range []string{"enrico", "anna"} {
			p.signUp(t, name)
			if info, err := os.Stat(p.path); err != nil || info.Mode() != 0o600 {
				t.Errorf("umask %s: %v, %v", umask, info, err)
			}
			os.Chmod(p.path, 0o666)
		}
	}
	writeFile(t, at("real.json"), "[]")
	writeFile(t, at(".real.json.authflow-123"), "what a killed program left")
	writeFile(t, at(".real.json.note"), "what only looks like that")
	if err := errors.Join(os.Mkdir(at("etc"), 0o700), os.Symlink("../real.json", at("etc/users.json")), os.Symlink("etc/users.json", at("link")),
		os.Symlink("missing", at("dangling")), os.Symlink("self", at("self")), exec.Command("mkfifo", at("pipe")).Run()); err != nil {
		t.Fatal(err)
	}
	start(t, "-cost", "4", "-users", at("link")).signUp(t, "enrico")
	if link, _ := os.Readlink(at("link")); link != "etc/users.json" || !strings.Contains(readFile(t, at("real.json")), "enrico") {
		t.Errorf("the link is %q", link)
	}
	if left, _ := filepath.Glob(at(".real*")); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
	for path, want := range map[string]string{ // what can't be a users file is refused in one line
		at("pipe"):     at("pipe") + " is not a file, but a folder, a pipe or a device",
		at("dangling"): "the link " + at("dangling") + " leads nowhere: ",
		at("self"):     "the link " + at("self") + " leads nowhere: ",
		at("no/u"):     "make the folder of the users file, or make it readable: open " + at("no"),
	} {
		var stderr bytes.Buffer
		status := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-users", path}, noEnvironment, &stderr)
		if status != 1 || !strings.HasPrefix(stderr.String(), "authflow: "+want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: exit status %d, %s", path, status, &stderr)
		}
	}
	if p := runtime.GOMAXPROCS(0); p != processors+1 {
		t.Errorf("Go has %d P for %d slots", p, processors)
	}
}

// TestFullDisk fills a disk, makes it read-only, and mounts the file itself.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir)
	p := start(t, "-cost", "4", "-users", filepath.Join(dir, "users.json"))
	p.signUp(t, "enrico")
	before := readFile(t, p.path)
	refused := func(reason string) {
		t.Helper()
		p.signup(t, strings.Replace(lessonSignup, "enrico", "anna", 1)).is(t, 503, notStored).header(t, "Retry-After", "5")
		left, _ := filepath.Glob(filepath.Join(dir, ".users*"))
		if got := readFile(t, p.path); got != before || left != nil {
			t.Errorf("left are %v, and the file is\n%s", left, got)
		}
		p.logged(t, reason)
		p.login(t, "enrico", password).contains(t, 200, `"user_id":1`)
		p.login(t, "anna", password).is(t, 401, wrongLogin)
	}
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("the disk isn't full")
	}
	refused("no space left on device")
	must(t, os.Remove(filler))
	mount(t, "-o", "remount,ro", dir)
	refused("read-only file system")
	start(t, "-users", p.path).logged(t, `level=WARN msg="sign-ups will get 503: the users file's folder can't be written to"`)
	mount(t, "-o", "remount,rw", dir)
	mount(t, "--bind", p.path, p.path)
	refused("device or resource busy")
}

// TestFailingDisk lets system calls fail or wait, with strace.
func TestFailingDisk(t *testing.T) {
	p := start(t, "-cost", "4")
	folder := filepath.Dir(p.path)
	p.signUp(t, "enrico")
	token := p.token(t, "enrico", password)

	calls := filepath.Join(t.TempDir(), "calls")
	stop := strace(t, p, "-y", "-o", calls, "-e", "trace=fsync,/^rename")
	p.signUp(t, "alma")
	stop()
	order := `(?s)fsync\(\d+<` + folder + `/\.users\.json\.authflow-\d+>\).*rename.*/users\.json".*fsync\(\d+<` + folder + `>\)`
	if text := readFile(t, calls); !regexp.MustCompile(order).MatchString(text) {
		t.Errorf("not in the order sync, rename, sync:\n%s", text)
	}
	for _, row := range []struct {
		name, rule, path, logged string
		status                   int
		exists                   bool // afterwards
	}{
		{"file", "fsync:error=EIO", "", "input/output error", 503, false},
		{"rename", "/^rename:error=EACCES", "", "permission denied", 503, false},
		{"folder", "fsync:error=EIO", folder, "input/output error", 503, true},
		{"folder-without-sync", "fsync:error=EINVAL", folder, "", 201, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			args := []string{"-o", os.DevNull, "-e", "inject=" + row.rule}
			if row.path != "" {
				args = append(args, "-P", row.path)
			}
			stop := strace(t, p, args...)
			status := p.signUp(t, row.name)
			stop()
			p.logged(t, row.logged)
			p.me(t, token).contains(t, 200, `"enrico"`)
			exists := p.login(t, row.name, password).status == 200
			if inFile := strings.Contains(readFile(t, p.path), row.name+"@"); status != row.status || exists != row.exists || inFile != row.exists {
				t.Errorf("%d, exists: %v, in the file: %v", status, exists, inFile)
			}
			if status := p.signUp(t, "after-"+row.name); status != 201 {
				t.Errorf("afterwards sign-up gets %d", status)
			}
			if entries, _ := os.ReadDir(folder); len(entries) != 1 {
				t.Errorf("a temporary file stays: %v", entries)
			}
		})
	}

	// The last look of a save reads the file. An edit in that time is not overwritten.
	signUp := func(name string) chan int {
		status := make(chan int, 1)
		go func() { status <- p.signUp(t, name) }()
		await(t, "a temporary file", func() bool {
			entries, _ := os.ReadDir(folder)
			return len(entries) == 2
		})
		return status
	}
	stop = strace(t, p, "-o", os.DevNull, "-P", p.path, "-e", "inject=read:delay_exit=300000")
	waiting := signUp("bella")
	time.Sleep(100 * time.Millisecond)
	writeFile(t, p.path, strings.Replace(readFile(t, p.path), "alma@", "amla@", 1))
	if status, text := <-waiting, readFile(t, p.path); status != 503 || !strings.Contains(text, "amla@") || strings.Contains(text, "bella") {
		t.Errorf("a sign-up beside an edit at the last moment: %d\n%s", status, text)
	}
	stop()

	// While the disk is slow, only the sign-up waits for it. An edit in that time is not overwritten.
	defer strace(t, p, "-o", os.DevNull, "-e", "inject=fsync:delay_enter=400000")()
	waiting = signUp("carla")
	p.me(t, token).contains(t, 200, `"enrico@example.com"`)
	p.login(t, "carla", password).is(t, 401, wrongLogin) // not durable yet
	await(t, "the rename", func() bool { return strings.Contains(readFile(t, p.path), "carla") })
	p.me(t, token).contains(t, 200, `"enrico@example.com"`)
	if len(waiting) > 0 {
		t.Error("the sign-up did not wait for the folder's sync, or the look-ups did")
	}
	if status := <-waiting; status != 201 {
		t.Errorf("a sign-up on a slow disk: %d", status)
	}
	waiting = signUp("dora")
	writeFile(t, p.path, strings.Replace(readFile(t, p.path), "enrico@", "edited@", 1))
	if status, text := <-waiting, readFile(t, p.path); status != 503 || !strings.Contains(text, "edited@") || strings.Contains(text, "dora") {
		t.Errorf("a sign-up beside an edit: %d\n%s", status, text)
	}
	p.logged(t, "users file was edited at the same moment")
	p.me(t, token).contains(t, 200, "edited@")
}

// The program

func TestUsage(t *testing.T) {
	for _, row := range []struct {
		args, secret, want string
	}{
		{"-nosuch", "", "flag provided but not defined: -nosuch"},
		{"serve", "", `unexpected argument "serve": there are only flags`},
		{"-cost 3", "", `invalid value "3" for flag -cost: it must be a whole number from 4 to 16`},
		{"-cost x", "", `invalid value "x" for flag -cost: it must be a whole number`},
		{"-v=maybe", "", `invalid boolean value "maybe" for -v: write -v, or leave it out`},
		{"-cost 17", "", `invalid value "17"`},
		{"-addr 127.0.0.1:70000", "", `-addr "127.0.0.1:70000" must be host:port, such as 127.0.0.1:8000`},
		{"-addr ", "", `-addr "" must be host:port`},
		{"-users ", "", "-users must name a file"},
		{"-token-ttl 30d", "", `invalid value "30d" for flag -token-ttl: it must be at least 1s, in h, m and s, such as 24h or 1h30m`},
		{"-token-ttl 999ms", "", `invalid value "999ms" for flag -token-ttl: it must be at least 1s`},
		{"-tls-cert cert.pem", "", "-tls-cert and -tls-key go together"},
		{"-allow-origin *", "", `invalid value "*" for flag -allow-origin: it must be as browsers send it: in lower case, without path and default port, such as http://localhost:5173`},
		{"-allow-origin http://localhost:5173/", "", ""},
		{"-allow-origin http://LOCALHOST:5173", "", ""},
		{"-allow-origin https://*.example.com", "", ""},
		{"-allow-origin https://example.com:443", "", `invalid value "https://example.com:443" for flag -allow-origin`},
		{"-v", strings.Repeat("s", 31), "AUTH_SECRET must have at least 32 bytes: try openssl rand -base64 32"},
	} {
		t.Run(row.args, func(t *testing.T) {
			var stderr bytes.Buffer
			status := run(t.Context(), strings.Split(row.args, " "), func(string) string { return row.secret }, &stderr)
			if status != 2 || !strings.HasPrefix(stderr.String(), "authflow: "+row.want) || strings.Count(stderr.String(), "\n") != 1 ||
				row.secret != "" && strings.Contains(stderr.String(), row.secret) {
				t.Errorf("exit status %d, %s", status, &stderr)
			}
		})
	}
	if status := launch(t, "-cost", "3").exit(t); status != 2 {
		t.Errorf("exit status of the process %d, want 2", status)
	}
}

func TestCannotServe(t *testing.T) {
	p := start(t)
	busy := strings.TrimPrefix(p.url, "http://")
	temp := filepath.Join(filepath.Dir(p.path), ".users.json.authflow-1")
	writeFile(t, temp, "a save of the program that runs")
	for want, args := range map[string][]string{
		"authflow: listen tcp " + busy + ": ":                {"-addr", busy, "-users", p.path},
		"authflow: -tls-cert or -tls-key: open nosuch.pem: ": {"-tls-cert", "nosuch.pem", "-tls-key", "nosuch.pem"},
	} {
		q := launch(t, args...)
		if status := q.exit(t); status != 1 || !strings.HasPrefix(q.log.String(), want) || strings.Count(q.log.String(), "\n") != 1 {
			t.Errorf("exit status %d, %s", status, q.log)
		}
	}
	readFile(t, temp) // the second program did not touch the first one's file
}

func TestStart(t *testing.T) {
	readable := filepath.Join(t.TempDir(), "users.json")
	writeFile(t, readable, "[]")
	must(t, os.Chmod(readable, 0o640))
	secret := "AUTH_SECRET=" + strings.Repeat("s", 32)
	for _, row := range []struct {
		name, warning string
		args          []string
	}{
		{"nothing", "", []string{secret, "-cost", "10"}},
		{"no secret", "AUTH_SECRET is not set", []string{"-cost", "16", "-token-ttl", "1s"}},
		{"low cost", "hashed too fast", []string{secret, "-cost", "9"}},
		{"all addresses", "unencrypted", []string{secret, "-addr", "0.0.0.0:0"}},
		{"readable file", "chmod 600", []string{secret, "-users", readable}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.name == "readable file" && runtime.GOOS == "windows" {
				t.Skip("needs modes")
			}
			text := start(t, row.args...).log.String()
			if !strings.Contains(text, row.warning) || strings.Count(text, "level=WARN") != min(1, len(row.warning)) {
				t.Error(text)
			}
			for _, url := range regexp.MustCompile(`url=(\S+)`).FindAllStringSubmatch(text, -1) {
				if a, err := (api{url: url[1]}).try("GET", "/healthz", ""); err != nil || a.status != 200 || strings.Contains(url[1], "0.0.0.0") {
					t.Errorf("%s: %v", url[1], err)
				}
			}
		})
	}
}

// TestStop checks that a request that has begun is answered.
func TestStop(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs signals")
	}
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		p := start(t, "-cost", "4")
		const body = "username=enrico&password=plaintextpassword"
		conn := dial(t, p.url, fmt.Sprintf("POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", asForm, len(body)))
		reader := bufio.NewReader(conn)
		reader.ReadString('\n') // 100 Continue: it has begun
		must(t, p.cmd.Process.Signal(sig))
		p.logged(t, "msg=stopping")
		io.WriteString(conn, body)
		if rest, _ := io.ReadAll(reader); !strings.HasSuffix(string(rest), wrongLogin) {
			t.Errorf("%v: %s", sig, rest)
		}
		if status := p.exit(t); status != 0 {
			t.Errorf("%v: exit status %d, %s", sig, status, p.log)
		}
	}
}

func TestTLS(t *testing.T) {
	other := httptest.NewTLSServer(nil)
	defer other.Close()
	cert := other.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	must(t, err)
	file := filepath.Join(t.TempDir(), "cert-and-key.pem")
	writeFile(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))+
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
	p := start(t, "-cost", "4", "-tls-cert", file, "-tls-key", file, "-addr", "0.0.0.0:0")
	if !strings.HasPrefix(p.url, "https://127.0.0.1:") || strings.Contains(p.log.String(), "unencrypted") {
		t.Error(p.log)
	}
	p.signup(t, lessonSignup).is(t, 201, `{"message":"User created","user_id":1}`)
}

// TestLog expects one line a request, without secrets.
func TestLog(t *testing.T) {
	s := newService(t)
	s.signUp(t, "enrico")
	token := s.token(t, "enrico", password)
	s.login(t, "enrico", "wrong-password")
	s.login(t, password, "x")
	s.me(t, token+"x")
	s.do(t, "GET", "/auth/me?access_token="+token+"&password="+password, "", "Authorization", "Bearer "+token)
	for _, request := range []string{"GET /%0d%0atime=forged%20level=INFO", "GET /\u202egnp.exe", "GET /%1b%5b2J%e2%80%ae",
		"GET /" + strings.Repeat("x", 8000), strings.Repeat("X", 8000) + " /", "GET /\xff\xfe"} {
		s.raw(t, request, "")
	}
	text := s.log.String()
	for _, secret := range []string{password, "wrong-password", token, strings.Split(token, ".")[2], bcryptText.FindString(readFile(t, s.path))[29:], "the key"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log:\n%s", secret, text)
		}
	}
	if got := strings.Count(text, "msg=request "); got != 12 || strings.Contains(text, "status=0") {
		t.Errorf("12 requests made %d lines:\n%s", got, text)
	}
	for line := range strings.Lines(text) {
		if !regexp.MustCompile(`^time=\S+ level=(DEBUG|INFO) msg=[ -~µ]+ req=\d+ [ -~µ]+\n$`).MatchString(line) || len(line) > 2000 {
			t.Errorf("not a plain line: %q", line)
		}
	}
}

// TestSteps checks what only -v logs.
func TestSteps(t *testing.T) {
	flow := func(args ...string) string {
		p := start(t, append(args, "-cost", "4")...)
		p.me(t, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.y.z")
		p.do(t, "POST", "/auth/login", "", "Sec-Fetch-Site", "cross-site")
		for range 11 {
			p.login(t, "nobody", password)
		}
		p.kill()
		_, text, _ := strings.Cut(p.log.String(), "users=")
		return text
	}
	if text := flow(); strings.Count(text, "\n") != 14 || strings.Contains(text, "DEBUG") {
		t.Errorf("without -v:\n%s", text)
	}
	steps := strings.Join([]string{
		`source=auth\.go:\d+ msg="refused the request" req=1 status=401 detail="Could not validate credentials" reason="the signature doesn't fit"\n`,
		`msg=request req=1 method=GET path=/auth/me status=401 took=\S+ addr=127\.0\.0\.1:\d+\n`,
		`msg="refused the request" req=2 status=403 detail="Cross-origin request refused" `,
		`msg="refused the request" req=3 status=401 detail="Invalid credentials" reason="unknown user"\n`,
		`msg="refused the request" req=13 status=429 detail="Too many failed log-ins"\n`,
	}, ".*")
	if text := flow("-v"); !regexp.MustCompile("(?s)" + steps).MatchString(text) {
		t.Errorf("with -v:\n%s", text)
	}
}

func TestDependencies(t *testing.T) {
	out, err := exec.Command(need(t, "go"), "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if got := strings.Fields(string(out)); err != nil || fmt.Sprint(got) != "[golang.org/x/crypto/blowfish golang.org/x/crypto/bcrypt authflow]" {
		t.Error(got, err)
	}
}

// Load and attack

// TestPanic expects 500 in JSON, and the cause in the log.
func TestPanic(t *testing.T) {
	log := &output{}
	h := logRequests(slog.New(slog.NewTextHandler(log, nil)), answerPanics(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a bug") })))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	answer{w.Code, w.Header(), w.Body.String()}.is(t, 500, `{"detail":"Internal Server Error"}`)
	if text := log.String(); !strings.Contains(text, "panic: a bug") || !strings.Contains(text, "auth_test.go") || !strings.Contains(text, "status=500") {
		t.Error(text)
	}

	// If the answer has begun, the connection is cut.
	begun := func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "half"); panic("a bug") }
	web := httptest.NewServer(logRequests(slog.New(slog.NewTextHandler(log, nil)), answerPanics(http.HandlerFunc(begun))))
	defer web.Close()
	if resp, err := client.Get(web.URL); err == nil {
		body, err := io.ReadAll(resp.Body)
		t.Errorf("%d %s %v, want no whole answer", resp.StatusCode, body, err)
	}
	await(t, "the log", func() bool {
		return strings.Contains(log.String(), "the answer was cut off") && strings.Count(log.String(), "msg=request ") == 2
	})
}

// TestSlots fills bcrypt's slots and line.
func TestSlots(t *testing.T) {
	s := newService(t)
	s.signUp(t, "enrico")
	token := s.token(t, "enrico", password)
	for range processors {
		s.server.hashing.slots <- struct{}{}
	}
	ctx, hangUp := context.WithCancel(t.Context())
	ended := make(chan map[int]int)
	go func() {
		ended <- together(100, func(int) int {
			r, _ := http.NewRequestWithContext(ctx, "POST", s.url+"/auth/login", strings.NewReader("username=enrico&password=wrong"))
			r.Header.Set("Content-Type", asForm)
			if resp, err := client.Do(r); err == nil {
				return resp.StatusCode
			}
			return 0
		})
	}()
	await(t, "a full line", func() bool { return s.server.hashing.waiting.Load() == 100 })
	s.login(t, "enrico", password).is(t, 503, tooBusy).header(t, "Retry-After", "5")
	s.signup(t, lessonSignup).is(t, 503, `{"detail":"Too busy just now"}`).header(t, "Retry-After", "5")
	s.me(t, token).contains(t, 200, `"enrico"`)
	hangUp()
	if got := <-ended; got[0] != 100 {
		t.Errorf("clients in line got %v", got)
	}
	await(t, "an empty line", func() bool { return s.server.hashing.waiting.Load() == 0 })
	for range processors {
		<-s.server.hashing.slots // and there were no more
	}
	s.login(t, "enrico", password).contains(t, 200, `"Login successful"`) // those above are no failures of enrico's
}

// TestLongWait uses synctest's clock.
func TestLongWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(newStore(t, discard), nil, time.Hour)
		for range processors {
			s.hashing.slots <- struct{}{}
		}
		began := time.Now()
		form(s, "192.0.2.1:1", "username=enrico&password=x").is(t, 503, tooBusy).header(t, "Retry-After", "5")
		if waited := time.Since(began); waited != 15*time.Second {
			t.Errorf("it waited %v", waited)
		}
	})
}

// TestThrottle counts failures by account and address.
func TestThrottle(t *testing.T) {
	s := newServer(newStore(t, discard), []byte("the key"), time.Hour)
	now := time.Unix(1_800_000_000, 0)
	s.now = func() time.Time { return now }
	_, err := s.store.create(t.Context(), user{Username: "enrico", HashedPassword: newHash(t, password, 4), IsActive: true, Email: "a@b"})
	must(t, err)
	const home, away = "192.0.2.1:1111", "192.0.2.2:1111"
	right := func(addr string) answer { return form(s, addr, "username=enrico&password=plaintextpassword") }
	wrong := func(addr, name string) answer { return form(s, addr, "password=wrong&username="+name) }
	spellings := []string{"enrico", "Enrico", "ENRICO", "%65nrico", "enric%4F"}
	for i := range 10 {
		wrong(home, spellings[i%5]).is(t, 401, wrongLogin)
	}
	for _, name := range spellings {
		wrong("192.0.2.1:2222", name).is(t, 429, tooManyTries).header(t, "Retry-After", "60")
	}
	right("[::ffff:192.0.2.1]:1").is(t, 429, tooManyTries)
	wrong(home, "anna").is(t, 401, wrongLogin)         // another account
	right(away).contains(t, 200, `"Login successful"`) // another address
	now = now.Add(59*time.Second + time.Millisecond)
	right(home).is(t, 429, tooManyTries).header(t, "Retry-After", "1")
	now = now.Add(999 * time.Millisecond)
	wrong(home, "enrico").is(t, 401, wrongLogin) // one try a minute
	right(home).is(t, 429, tooManyTries).header(t, "Retry-After", "60")
	now = now.Add(time.Minute)
	for range 3 { // success clears it
		right(home).contains(t, 200, `"Login successful"`)
		for range 9 {
			wrong(home, "enrico").is(t, 401, wrongLogin)
		}
	}
	for i := range 10 { // unknown accounts count alike, and a /64 is one address
		wrong(fmt.Sprintf("[2001:db8:1:2:%x::1%%eth0]:1", i+1), "nobody").is(t, 401, wrongLogin)
		form(s, away, "username=carla").faults(t, "missing body.password") // no failed log-in
	}
	wrong("[2001:db8:1:2:ffff::9]:1", "nobody").is(t, 429, tooManyTries)
	wrong("[2001:db8:1:3::1]:1", "nobody").is(t, 401, wrongLogin)
	wrong(away, "carla").is(t, 401, wrongLogin)
	most := 0
	for i := range 10_100 {
		s.throttle.record(newThrottleKey(fmt.Sprint(i), home), false, now)
		most = max(most, len(s.throttle.counts))
	}
	if most != 10_000 {
		t.Errorf("%d accounts were remembered", most)
	}
}

// TestTogether sends parallel requests: no more get through than one by one.
func TestTogether(t *testing.T) {
	s := newService(t)
	got := []map[int]int{together(40, func(i int) int {
		return s.signUp(t, []string{"enrico", "Enrico", "ENRICO", "enRICO"}[i%4])
	})}
	s.signUp(t, "anna")
	for _, tried := range []string{password, "wrong", password} {
		got = append(got, together(40, func(int) int { return s.login(t, "anna", tried).status }))
	}
	if want := "[map[201:1 400:39] map[200:40] map[401:10 429:30] map[429:40]]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestSlowClients sends a byte a second, by synctest's clock.
func TestSlowClients(t *testing.T) {
	for request, limit := range map[string]time.Duration{
		"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ":                                                             5 * time.Second,
		"POST /auth/signup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n": 10 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			srv := newHTTPServer(newHandler(newServer(newStore(t, discard), nil, time.Hour), nil, discard), discard)
			listener := make(pipeListener, 1)
			listener <- theirs
			go srv.Serve(listener)
			defer srv.Close()
			go io.Copy(io.Discard, ours)
			began := time.Now()
			for text := request; ; text = "x" {
				if _, err := io.WriteString(ours, text); err != nil {
					break
				}
				time.Sleep(time.Second)
			}
			if took := time.Since(began); took < limit || took > limit+2*time.Second {
				t.Errorf("%.20q was cut off after %v", request, took)
			}
		})
	}
	s := newService(t)
	if a := s.raw(t, "GET /healthz\r\nX-Large: "+strings.Repeat("x", 32<<10), ""); a.status != 431 {
		t.Errorf("32 KiB of headers: %d", a.status)
	}
}

// The documents

// TestManual compares the manual with the README, and the OpenAPI document with the routes.
func TestManual(t *testing.T) {
	var manual bytes.Buffer
	if status := run(t.Context(), []string{"-h"}, noEnvironment, &manual); status != 0 || !strings.Contains(readFile(t, "README.md"), manual.String()) {
		t.Errorf("exit status %d; the README does not say\n%s", status, &manual)
	}
	var doc struct{ Paths map[string]map[string]any }
	must(t, json.Unmarshal([]byte(openapiDocument), &doc))
	mux := routes(newServer(newStore(t, discard), nil, 0))
	for path, methods := range doc.Paths {
		for method := range methods {
			route := strings.ToUpper(method) + " " + path
			if _, pattern := mux.Handler(httptest.NewRequest(strings.ToUpper(method), path, nil)); pattern != route {
				t.Errorf("%s is documented, and routed to %q", route, pattern)
			}
		}
	}
	if len(doc.Paths) != 4 {
		t.Errorf("%d paths", len(doc.Paths))
	}
}

// TestREADME runs the sh blocks. The json blocks are their output; the text block is what -v logs.
func TestREADME(t *testing.T) {
	need(t, "curl")
	p := start(t, "-v")
	script, want := "", ""
	readme := readFile(t, "README.md")
	for _, block := range regexp.MustCompile("(?s)\n```(sh|json)\n(.*?)```").FindAllStringSubmatch(readme, -1) {
		if block[1] == "json" {
			want += block[2] + "====\n"
			script += "echo ====\n"
		} else {
			script += block[2]
		}
	}
	shell := exec.Command(need(t, "bash"), "-c", strings.ReplaceAll(script, "http://127.0.0.1:8000", p.url))
	shell.Dir = filepath.Dir(p.path)
	out, err := shell.Output()
	must(t, err)
	token := regexp.MustCompile(`eyJ[\w.…-]+`)
	if got := token.ReplaceAllString(string(out), "eyJ"); got != token.ReplaceAllString(want, "eyJ") || strings.Count(want, "====") < 5 {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	p.kill()
	_, log, _ := strings.Cut(p.log.String(), "users="+p.path+"\n")
	volatile := regexp.MustCompile(`time=\S+ |source=\S+ |took=\S+|addr=\S+`)
	steps := regexp.MustCompile("(?s)\n```text\n(.*?)```").FindStringSubmatch(readme)[1]
	if log := volatile.ReplaceAllString(log, ""); !strings.HasPrefix(log, volatile.ReplaceAllString(steps, "")) {
		t.Errorf("-v logs\n%s\nand the README has\n%s", log, steps)
	}
}

// TestPolicy checks that the page loads and runs only its own.
func TestPolicy(t *testing.T) {
	a := newService(t).do(t, "GET", "/docs", "").header(t, "Content-Type", "text/html; charset=utf-8")
	const digest = "'sha256-[\\w+/]{43}='"
	if policy := a.headers.Get("Content-Security-Policy"); !regexp.MustCompile("^default-src 'none'; script-src " + digest + "; style-src " + digest +
		"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$").MatchString(policy) {
		t.Error(policy)
	}
	if found := regexp.MustCompile(`https?:|//cdn|innerHTML|insertAdjacentHTML|document\.write|eval\(| on\w+=|localStorage`).FindString(a.body); found != "" {
		t.Errorf("the page has %s", found)
	}
}

// TestPage drives the page in headless Chromium (W3C WebDriver), and calls the API from pages of two other origins.
func TestPage(t *testing.T) {
	chromium := need(t, "chromium")
	front, other := httptest.NewServer(http.NotFoundHandler()), httptest.NewServer(http.NotFoundHandler())
	defer front.Close()
	defer other.Close()
	p := start(t, "-cost", "4", "-allow-origin", front.URL)
	driver, said := exec.Command(need(t, "chromedriver"), "--port=0"), &output{}
	driver.Stdout, driver.WaitDelay = said, time.Second // its browser may hold the pipe open
	must(t, driver.Start())
	defer driver.Wait()
	defer driver.Process.Kill()
	port := regexp.MustCompile(`on port (\d+)\.`)
	await(t, "ChromeDriver", func() bool { return port.MatchString(said.String()) })
	session := "http://127.0.0.1:" + port.FindStringSubmatch(said.String())[1] + "/session"
	call := func(method, path string, parameters any) (value json.RawMessage) {
		t.Helper()
		text, _ := json.Marshal(parameters)
		a, err := api{url: session}.try(method, path, string(text))
		var reply struct{ Value json.RawMessage }
		if json.Unmarshal([]byte(a.body), &reply); err != nil || a.status != 200 {
			t.Fatal(path, a, err)
		}
		return reply.Value
	}
	type object map[string]any
	created := call("POST", "", object{"capabilities": object{"alwaysMatch": object{"goog:loggingPrefs": object{"browser": "ALL"},
		"goog:chromeOptions": object{"binary": chromium, "args": strings.Fields("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run " +
			"--disable-background-networking --disable-component-update --disable-sync --user-data-dir=" + t.TempDir())}}}})
	session += "/" + regexp.MustCompile(`"sessionId":"(\w+)"`).FindStringSubmatch(string(created))[1]
	defer call("DELETE", "", object{})
	open := func(url string) { call("POST", "/url", object{"url": url}) }
	run := func(script string, args ...any) (result string) { // what it returns, or its error
		t.Helper()
		script = "let [a, b, done] = arguments; (async () => {" + script + "})().then(done, (e) => done(String(e)))"
		json.Unmarshal(call("POST", "/execute/async", object{"script": script, "args": append(args, "", "")[:2]}), &result)
		return result
	}
	fill := func(field, text string) {
		run(`a = document.querySelector(a); a.value = b; a.dispatchEvent(new Event("input", { bubbles: true }))`, field, text)
	}
	shows := func(selector, text string) {
		t.Helper()
		await(t, selector+" with "+text, func() bool {
			return strings.Contains(run(`return document.querySelector(a).textContent`, selector), text)
		})
	}
	press := func(step, status string) {
		t.Helper()
		run(`document.querySelector(a + " button").click()`, step)
		shows(step+" [role=status]", status)
	}

	open(p.url + "/docs")
	fill("#signup-username", "en rico")
	fill("#signup-email", "enrico@example.com")
	fill("#signup-password", "short")
	press("#signup", "422 Unprocessable Entity")
	shows("#signup-username-fault", "String should have only ASCII letters, digits and . _ - @ +")
	if got := run(`return document.activeElement.id`); got != "signup-username" {
		t.Errorf("the focus is on %s", got)
	}
	const hard = "it's <b>secret</b>"
	fill("#signup-username", "enrico")
	fill("#signup-password", hard)
	press("#signup", "201 Created")
	shows("section:has(#signup) .answer", `"user_id": 1`)
	press("#me", "401 Unauthorized")
	press("#login", "200 OK") // with what sign-up has put there
	shows("#header-json", `"alg": "HS256"`)
	shows("#payload-json", `"sub": "1"`)
	if text := run(`return document.body.innerText`); strings.Contains(text, "secret") || strings.Contains(text, "String should") {
		t.Errorf("the page shows the password, or an old fault:\n%s", text)
	}
	press("#me", "You are enrico")
	token := run(`return document.querySelector("#me-token").value`)
	shows("section:has(#me) .request", "Authorization: Bearer "+token)
	fill("#me-token", strings.Replace(token, ".", ".x", 1))
	press("#me", "401 Unauthorized")
	shows("section:has(#me) .answer", `error="invalid_token"`)
	fill("#login-password", "wrong")
	press("#login", "401 Unauthorized")
	shows("#token-age", "earlier")
	run(`document.querySelector("#login-show").click()`)
	fill("#login-password", hard)
	press("#login", "200 OK")
	out, err := exec.Command(need(t, "bash"), "-c", run(`return document.querySelector("section:has(#login) .curl").textContent`)).Output()
	if err != nil || !strings.Contains(string(out), `"Login successful"`) {
		t.Errorf("the page's curl: %v\n%s", err, out)
	}
	call("POST", "/goog/cdp/execute", object{"cmd": "Emulation.setDeviceMetricsOverride", "params": json.RawMessage(`{"width":320,"height":800,"deviceScaleFactor":2,"mobile":true}`)})
	if wide := run(`return String(document.documentElement.scrollWidth)`); wide != "320" {
		t.Errorf("on a phone of 320 pixels the page is %s wide", wide)
	}
	for _, line := range regexp.MustCompile(`"message":"[^"]*`).FindAllString(string(call("POST", "/se/log", object{"type": "browser"})), -1) {
		if !strings.Contains(line, "the server responded with a status of 4") {
			t.Errorf("the console says %s", line)
		}
	}

	const flow = `
		const send = (path, headers, body) => fetch(a + "/auth/" + path, { method: body ? "POST" : "GET", headers, body });
		const signup = await send("signup", {"Content-Type": "application/json"}, '{"username":"anna","email":"a@b","password":"plaintextpassword"}');
		const login = await send("login", {}, new URLSearchParams({username: "anna", password: "plaintextpassword"}));
		const user = await send("me", {Authorization: "Bearer " + (await login.json()).access_token});
		const refused = await send("me", {Authorization: "Bearer x"});
		return [signup.status, (await user.json()).username, refused.headers.get("WWW-Authenticate")].join()`
	open(front.URL)
	if got := run(flow, p.url); got != `201,anna,Bearer realm="auth", error="invalid_token"` {
		t.Errorf("a page of the allowed origin: %s", got)
	}
	open(other.URL)
	if got := run(flow, p.url); got != "TypeError: Failed to fetch" {
		t.Errorf("a page of another origin: %s", got)
	}
}

// Fuzzing

// FuzzUsersFile checks that a save keeps all users, and that a fault has a line.
func FuzzUsersFile(f *testing.F) {
	hash := newHash(f, password, 4)
	for _, seed := range []string{readFile(f, "users.json.example"), "", "[ ]\n", "\ufeff[]", "[\n]]", "[}", "\xff",
		`[{"id":1,"username":"a","email":"a@b","hashed_password":"` + hash + `","is_active":true,"note":"]"}]`} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "users.json")
	f.Fuzz(func(t *testing.T, text string) {
		writeFile(t, path, text)
		s, err := openStore(path, 4, discard)
		if err != nil {
			if !regexp.MustCompile(`users\.json: (line \d+|user \d+ \(".*"\)): .+$`).MatchString(err.Error()) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if _, err := s.create(t.Context(), user{Username: "fuzz-user", Email: "a@b", HashedPassword: hash, IsActive: true}); err != nil {
			return // the name is taken, or no id is left
		}
		again, err := openStore(path, 4, discard)
		if err != nil || fmt.Sprint(usersOf(again)) != fmt.Sprint(usersOf(s)) {
			t.Fatalf("%q: after a save: %v\n got %v\nwant %v", text, err, usersOf(again), usersOf(s))
		}
	})
}

// usersOf returns the users as values, which can be printed.
func usersOf(s *store) map[int64]user {
	users := map[int64]user{}
	for id, u := range s.users.byID {
		users[id] = *u
	}
	return users
}

// Benchmarks
//
// Speeds are ratios of two things that are measured in turn, since machines differ and are shared.

const (
	benchCost = "12"            // the program's own
	benchTurn = 4 * time.Second // how long each of the two is measured
)

func perSecond(n int, f func()) float64 {
	var count atomic.Int64
	start := time.Now()
	together(n, func(int) int {
		for time.Since(start) < benchTurn {
			f()
			count.Add(1)
		}
		return 0
	})
	return float64(count.Load()) / time.Since(start).Seconds()
}

// report reports the median and the 99th percentile of the time of f.
func report(b *testing.B, name string, f func()) {
	var took []time.Duration
	for start := time.Now(); time.Since(start) < benchTurn; {
		before := time.Now()
		f()
		took = append(took, time.Since(before))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, name+"-p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, name+"-p99-ms")
}

// BenchmarkLogin compares 32 clients with bcrypt alone.
func BenchmarkLogin(b *testing.B) {
	p := start(b, "-cost", benchCost)
	p.signUp(b, "enrico")
	hash := []byte(newHash(b, password, 12))
	var raw, login float64
	for b.Loop() {
		raw += perSecond(processors, func() { bcrypt.CompareHashAndPassword(hash, []byte(password)) })
		login += perSecond(32, func() { p.token(b, "enrico", password) })
	}
	b.ReportMetric(login/raw, "login/bcrypt")
}

// BenchmarkMe asks who am I: alone, beside 32 log-ins, and beside sign-ups into 100,000 users.
func BenchmarkMe(b *testing.B) {
	many := filepath.Join(b.TempDir(), "users.json")
	manyUsers(b, many, 100_000)
	p, q := start(b, "-cost", benchCost), start(b, "-cost", "4", "-users", many)
	p.signUp(b, "enrico")
	token, tokenOfMany := p.token(b, "enrico", password), q.token(b, "user1", password)
	beside := func(n int, f, g func()) {
		done := make(chan float64)
		go func() { done <- perSecond(n, f) }()
		g()
		<-done
	}
	i := 0
	for b.Loop() {
		me := func() { p.me(b, token).contains(b, 200, `"id":1`) }
		report(b, "alone", me)
		beside(32, func() { p.login(b, "enrico", password) }, func() { report(b, "logins", me) })
		beside(1, func() { i++; q.signUp(b, fmt.Sprint("new", i)) }, func() {
			report(b, "signups", func() { q.me(b, tokenOfMany).contains(b, 200, `"id":1`) })
		})
	}
}

// BenchmarkManyUsers compares 100,000 users with none, and reading them with json.Unmarshal.
func BenchmarkManyUsers(b *testing.B) {
	many := filepath.Join(b.TempDir(), "users.json")
	text := manyUsers(b, many, 100_000)
	p, q := start(b, "-cost", benchCost), start(b, "-cost", benchCost, "-users", many)
	took := map[string]time.Duration{}
	measure := func(name string, f func() bool) {
		start := time.Now()
		if !f() {
			b.Fatal(name)
		}
		took[name] += time.Since(start)
	}
	i := 0
	for b.Loop() {
		for range 10 {
			i++
			name := fmt.Sprint("new", i)
			measure("none", func() bool { return p.signUp(b, name) == 201 })
			measure("many", func() bool { return q.signUp(b, name) == 201 })
		}
		measure("unmarshal", func() bool { return json.Unmarshal(text, new([]user)) == nil })
		measure("parse", func() bool { _, err := parse(text, 12); return err == nil })
	}
	b.ReportMetric(float64(took["many"])/float64(took["none"]), "many/none")
	b.ReportMetric(float64(took["parse"])/float64(took["unmarshal"]), "parse/unmarshal")
}

func manyUsers(t testing.TB, path string, n int) (text []byte) {
	t.Helper()
	hash := newHash(t, password, 4)
	for i := 1; i <= n; i++ {
		text = fmt.Appendf(text, ",\n"+`{"id":%d,"username":"user%d","email":"user%d@example.com","hashed_password":%q,"is_active":true}`, i, i, i, hash)
	}
	text[0] = '['
	text = append(text, "\n]\n"...)
	writeFile(t, path, string(text))
	must(t, os.Chtimes(path, time.Unix(1, 0), time.Unix(1, 0)))
	return text
}

// Helpers

// TestMain lets the test binary be authflow itself.
func TestMain(m *testing.M) {
	if os.Getenv("AUTHFLOW_RUN") != "" {
		main()
	}
	os.Exit(m.Run())
}

var (
	discard    = slog.New(slog.DiscardHandler)
	bcryptText = regexp.MustCompile(`\$2a\$[^"]+`)
)

func noEnvironment(string) string { return "" }

// An api is where requests go.
type api struct {
	url  string
	path string // of the users file
	log  *output
}

// A service is the real handler at bcrypt's lowest cost.
type service struct {
	api
	server *server
}

func newStore(t testing.TB, log *slog.Logger) *store {
	t.Helper()
	users, err := openStore(filepath.Join(t.TempDir(), "users.json"), 4, log)
	must(t, err)
	return users
}

func newService(t testing.TB, origins ...string) *service {
	t.Helper()
	log := &output{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	users := newStore(t, logger)
	s := newServer(users, []byte("the key"), time.Hour)
	web := httptest.NewUnstartedServer(nil)
	web.Config = newHTTPServer(newHandler(s, origins, logger), discard)
	web.Start()
	t.Cleanup(web.Close)
	return &service{api{web.URL, users.path, log}, s}
}

func form(s *server, addr, body string) answer {
	r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(body))
	r.RemoteAddr = addr
	r.Header.Set("Content-Type", asForm)
	r.Header.Set("X-Forwarded-For", "198.51.100.7") // is not believed
	w := httptest.NewRecorder()
	newHandler(s, nil, discard).ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// A program is authflow as a process.
type program struct {
	api
	cmd   *exec.Cmd
	ended chan struct{}
}

// start runs authflow on a free port and waits until it listens. NAME=VALUE is for the environment, UMASK=… sets the umask.
func start(t testing.TB, args ...string) *program {
	t.Helper()
	p := launch(t, args...)
	url := regexp.MustCompile(`msg=listening url=(\S+)`)
	await(t, "its start", func() bool {
		select {
		case <-p.ended:
			t.Fatal(p.log)
		default:
		}
		return url.MatchString(p.log.String())
	})
	p.url = url.FindStringSubmatch(p.log.String())[1]
	return p
}

func launch(t testing.TB, args ...string) *program {
	t.Helper()
	p := &program{api: api{path: filepath.Join(t.TempDir(), "users.json"), log: &output{}}, ended: make(chan struct{})}
	command := []string{os.Args[0], "-addr", "127.0.0.1:0", "-users", p.path}
	environment := append(os.Environ(), "AUTHFLOW_RUN=1", "AUTH_SECRET=") // the last one of a name counts
	for i, arg := range args {
		umask, isUmask := strings.CutPrefix(arg, "UMASK=")
		switch {
		case isUmask:
			command = append([]string{"sh", "-c", "umask " + umask + `; exec "$0" "$@"`}, command...)
		case strings.HasPrefix(arg, "AUTH_SECRET="):
			environment = append(environment, arg)
		default:
			command = append(command, arg)
		}
		if arg == "-users" {
			p.path = args[i+1]
		}
	}
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Env, p.cmd.Stderr = environment, p.log
	must(t, p.cmd.Start())
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *program) exit(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not end:\n%s", p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the program as a power cut would.
func (p *program) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func (s api) logged(t testing.TB, text string) {
	t.Helper()
	await(t, text, func() bool { return strings.Contains(s.log.String(), text) })
}

type answer struct {
	status  int
	headers http.Header
	body    string
}

var client = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 100, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       time.Minute,
}

// try sends a request with these headers, pairs of name and value.
func (s api) try(method, path, body string, headers ...string) (answer, error) {
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}, err
}

func (s api) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	a, err := s.try(method, path, body, headers...)
	if err != nil {
		t.Error(err) // not Fatal: other goroutines call this too
	}
	return a
}

func (s api) signup(t testing.TB, body string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/signup", body, "Content-Type", asJSON)
}

func (s api) signUp(t testing.TB, username string) int {
	t.Helper()
	return s.signup(t, strings.ReplaceAll(lessonSignup, "enrico", username)).status
}

func (s api) login(t testing.TB, username, password string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/login", url.Values{"username": {username}, "password": {password}}.Encode(), "Content-Type", asForm)
}

func (s api) token(t testing.TB, username, password string) string {
	t.Helper()
	a := s.login(t, username, password)
	_, token, _ := strings.Cut(a.body, `"access_token":"`)
	token, _, _ = strings.Cut(token, `"`)
	if a.status != 200 || token == "" {
		t.Errorf("no token: %d %s", a.status, a.body)
	}
	return token
}

func (s api) me(t testing.TB, token string) answer {
	t.Helper()
	return s.do(t, "GET", "/auth/me", "", "Authorization", "Bearer "+token)
}

func dial(t testing.TB, url, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	go io.WriteString(conn, text) // the service may answer and close before it has read everything
	return conn
}

// raw sends "METHOD path" and more header lines as they are. It adds the length of the body unless there is one.
func (s api) raw(t testing.TB, request, body string) answer {
	t.Helper()
	first, headers, _ := strings.Cut(request, "\r\n")
	if !strings.Contains(headers, "Content-Length") && !strings.Contains(headers, "Transfer-Encoding") {
		headers += fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	conn := dial(t, s.url, first+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+strings.TrimPrefix(headers, "\r\n")+"\r\n\r\n"+body)
	method, _, _ := strings.Cut(first, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	text, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (a answer) is(t testing.TB, status int, body string) answer {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("%d %s, want %d %s", a.status, a.body, status, body)
	}
	return a
}

func (a answer) contains(t testing.TB, status int, part string) answer {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, part) {
		t.Errorf("%d %s, want %d with %s", a.status, a.body, status, part)
	}
	return a
}

func (a answer) header(t testing.TB, name, value string) answer {
	t.Helper()
	if got := a.headers.Get(name); got != value {
		t.Errorf("%s: %q, want %q, with %d %.100s", name, got, value, a.status, a.body)
	}
	return a
}

// faults expects a 422 with these faults: "type place, type place".
func (a answer) faults(t testing.TB, want string) answer {
	t.Helper()
	var body struct {
		Detail []struct {
			Type string
			Loc  []any
			Msg  string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != 422 {
		t.Errorf("%d %s", a.status, a.body)
	}
	var got []string
	for _, f := range body.Detail {
		place := strings.ReplaceAll(strings.Trim(fmt.Sprint(f.Loc), "[]"), " ", ".")
		got = append(got, f.Type+" "+place)
		if len(f.Msg) < 10 {
			t.Errorf("the message says nothing: %q", f.Msg)
		}
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, ", "), want)
	}
	return a
}

// together calls f in n goroutines and counts the results.
func together(n int, f func(i int) int) map[int]int {
	results := make(chan int)
	for i := range n {
		go func() { results <- f(i) }()
	}
	count := map[int]int{}
	for range n {
		count[<-results]++
	}
	return count
}

func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for ", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newHash(t testing.TB, password string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	must(t, err)
	return string(hash)
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip("needs " + program)
	}
	return path
}

func mount(t *testing.T, args ...string) {
	t.Helper()
	if need(t, "mount"); os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", args[len(args)-1]).Run() })
}

func strace(t *testing.T, p *program, args ...string) (stop func()) {
	t.Helper()
	tracer := exec.Command(need(t, "strace"), append([]string{"-f", "-e", "signal=none", "-p", strconv.Itoa(p.cmd.Process.Pid)}, args...)...)
	said := &output{}
	tracer.Stderr = said
	must(t, tracer.Start())
	await(t, "strace", func() bool { return strings.Contains(said.String(), "attached") })
	return func() {
		tracer.Process.Signal(os.Interrupt)
		tracer.Wait()
	}
}

// A pipeListener accepts the connections that it is given.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	conn, ok := <-l
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l pipeListener) Close() error   { close(l); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
