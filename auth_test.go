package main

// Contents
//
//	The lesson             its requests and ours, with the exact answers
//	Requests and answers   media types, sizes, methods, headers: what holds for every path
//	Tokens                 RFC 7515's example, forgeries, and what makes a token void
//	Passwords              bcrypt's limits, costs and decoys
//	The users file         durable, whole, live: crashes, failing disks, edits
//	The program            flags, secrets, signals, TLS, logs, what it is built from
//	Load and attack        slots, the throttle, slow and oversized clients
//	The documents          README, manual, OpenAPI, the page in a browser
//	Fuzzing                inputs that nobody thought of
//	Benchmarks             the README's figures
//	Helpers                a service, a program, an editor, and what they say
//
// The tests go in by the front door: HTTP, the file, the built program. What they expect is written by hand, as it goes
// over the wire.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
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
	"maps"
	"math/big"
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
	"time"

	"golang.org/x/crypto/bcrypt"
)

// ---------------------------------------------------------------------------------------------------------------------
// The lesson

const lessonSignup = `{"username":"enrico","email":"enrico@example.com","hashed_password":"plaintextpassword"}`

// TestLesson holds the lesson's own requests: each row is sent to the service that the rows above have left behind.
func TestLesson(t *testing.T) {
	s := newService(t)
	const signup, login = "/auth/signup", "/auth/login"
	const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"
	const created, exists = `{"message":"User created","user_id":%}`, `{"detail":"Username already exists"}`
	for _, row := range []struct {
		what, path, contentType, body string
		status                        int
		want                          string // % stands for any number
	}{
		{"the lesson's sign-up", signup, asJSON, lessonSignup, 201, `{"message":"User created","user_id":1}`},
		{"the same again", signup, asJSON, lessonSignup, 400, exists},
		{"with another e-mail and password", signup, asJSON, `{"username":"enrico","email":"x@example.com","hashed_password":"other-password"}`, 400, exists},
		{"in other letters", signup, asJSON, `{"username":"EnRiCo","email":"x@example.com","password":"other-password"}`, 400, exists},
		{"another name, the same e-mail", signup, asJSON, `{"username":"anna","email":"enrico@example.com","hashed_password":"plaintextpassword"}`, 201, `{"message":"User created","user_id":2}`},
		{"password in place of hashed_password", signup, asJSON, `{"username":"a3","email":"a@example.com","password":"plaintextpassword"}`, 201, created},
		{"both, alike", signup, asJSON, `{"username":"a4","email":"a@example.com","password":"plaintextpassword","hashed_password":"plaintextpassword"}`, 201, created},
		{"extra members", signup, asJSON, `{"username":"a5","email":"a@example.com","password":"plaintextpassword","role":"x"}`, 201, created},
		{"an id and is_active of the client's choice", signup, asJSON, `{"username":"a6","email":"a@example.com","password":"plaintextpassword","id":77,"is_active":false}`, 201, `{"message":"User created","user_id":6}`},
		{"an id that is taken", signup, asJSON, `{"username":"a7","email":"a@example.com","password":"plaintextpassword","id":1}`, 201, `{"message":"User created","user_id":7}`},
		{"an id of 2**63", signup, asJSON, `{"username":"a8","email":"a@example.com","password":"plaintextpassword","id":9223372036854775808}`, 201, created},
		{"an id of 1.5", signup, asJSON, `{"username":"a9","email":"a@example.com","password":"plaintextpassword","id":1.5}`, 201, created},
		{"log in", login, asForm, "username=enrico&password=plaintextpassword", 200, ""},
		{"in other letters", login, asForm, "username=ENRICO&password=plaintextpassword", 200, ""},
		{"who was not made inactive", login, asForm, "username=a6&password=plaintextpassword", 200, ""},
		{"wrong password", login, asForm, "username=enrico&password=wrong", 401, `{"detail":"Invalid credentials","error":"invalid_grant"}`},
		{"unknown user", login, asForm, "username=nobody&password=wrong", 401, `{"detail":"Invalid credentials","error":"invalid_grant"}`},
		{"grant_type password", login, asForm, "grant_type=password&username=enrico&password=plaintextpassword", 200, ""},
		{"grant_type empty", login, asForm, "grant_type=&username=enrico&password=plaintextpassword", 200, ""},
		{"what isn't used", login, asForm, "username=enrico&password=plaintextpassword&scope=a+b&client_id=c&client_secret=d&foo=bar", 200, ""},
		{"a sign-up with every character", signup, asJSON, `{"username":"a.b_c-d@e+f","email":"a+b&c=d@example.com","password":" +&=%ü☃ \" "}`, 201, created},
		{"and its log-in", login, asForm, "username=a.b_c-d%40e%2Bf&password=+%2B%26%3D%25%C3%BC%E2%98%83+%22+", 200, ""},
		{"which trims nothing", login, asForm, "username=a.b_c-d%40e%2Bf&password=%2B%26%3D%25%C3%BC%E2%98%83+%22", 401, `{"detail":"Invalid credentials","error":"invalid_grant"}`},
	} {
		a := s.do(t, "POST", row.path, row.body, "Content-Type", row.contentType)
		want := strings.ReplaceAll(regexp.QuoteMeta(row.want), "%", `\d+`)
		if a.status != row.status || row.want != "" && !regexp.MustCompile("^"+want+"$").MatchString(a.body) {
			t.Errorf("%s: %d %s, want %d %s", row.what, a.status, a.body, row.status, row.want)
		}
		if a.status == 200 && !regexp.MustCompile(`^{"message":"Login successful","user_id":\d+,"access_token":"[\w-]+\.[\w-]+\.[\w-]+","token_type":"bearer","expires_in":3600}$`).MatchString(a.body) {
			t.Errorf("%s: %s", row.what, a.body)
		}
	}
	token := s.token(t, "enrico", "plaintextpassword")
	s.do(t, "GET", "/auth/me", "", "Authorization", "Bearer "+token).
		is(t, 200, `{"id":1,"username":"enrico","email":"enrico@example.com","is_active":true}`)
	s.do(t, "GET", "/auth/me", "", "Authorization", "bEARER   "+token).contains(t, 200, `"username":"enrico"`)
	s.do(t, "GET", "/auth/me", "").is(t, 401, `{"detail":"Not authenticated"}`).
		header(t, "WWW-Authenticate", `Bearer realm="auth"`)
	s.do(t, "GET", "/auth/me", "", "Authorization", "Basic "+token).is(t, 401, `{"detail":"Not authenticated"}`)
	s.do(t, "GET", "/auth/me", "", "Authorization", "Bearer x").is(t, 401, `{"detail":"Could not validate credentials"}`).
		header(t, "WWW-Authenticate", `Bearer realm="auth", error="invalid_token"`)
	s.login(t, "enrico", "wrong").header(t, "WWW-Authenticate", `Bearer realm="auth"`)
}

// TestFaults holds the 422s: every fault at its place, all at once, and nothing of what was sent.
func TestFaults(t *testing.T) {
	s := newService(t)
	user := func(username, email, password string) string {
		text, _ := json.Marshal(map[string]string{"username": username, "email": email, "password": password})
		return string(text)
	}
	const good, mail = "plaintextpassword", "enrico@example.com"
	for _, row := range []struct{ what, body, want string }{
		{"no body", ``, `missing body`},
		{"an empty object", `{}`, `missing body.username, missing body.email, missing body.password`},
		{"only a name", `{"username":"enrico"}`, `missing body.email, missing body.password`},
		{"an array", `[]`, `model_attributes_type body`},
		{"a string", `"x"`, `model_attributes_type body`},
		{"null", `null`, `model_attributes_type body`},
		{"no JSON", `username=enrico`, `json_invalid body.0`},
		{"half an object", `{"username":`, `json_invalid body.11`},
		{"a second document", lessonSignup + ` {}`, `json_invalid body.89`},
		{"invalid UTF-8", user("enrico", mail, "plaintext")[:60] + "\xff\"}", `json_invalid body`},
		{"a number, a boolean, null", `{"username":7,"email":true,"password":null}`, `string_type body.username, string_type body.email, string_type body.password`},
		{"arrays and objects", `{"username":["enrico"],"email":{},"password":[]}`, `string_type body.username, string_type body.email, string_type body.password`},
		{"members in other letters", `{"Username":"enrico","EMAIL":"enrico@example.com","Password":"plaintextpassword"}`, `missing body.username, missing body.email, missing body.password`},
		{"all empty", user("", "", ""), `string_too_short body.username, value_error body.email, string_too_short body.password`},
		{"a blank name", user(" ", mail, good), `string_pattern_mismatch body.username`},
		{"a name with a control character", user("en\nrico", mail, good), `string_pattern_mismatch body.username`},
		{"a name with a Cyrillic а", user("аnna", mail, good), `string_pattern_mismatch body.username`},
		{"a name of 65", user(strings.Repeat("x", 65), mail, good), `string_too_long body.username`},
		{"a name of 65, not all good", user(strings.Repeat("x", 64)+"!", mail, good), `string_too_long body.username, string_pattern_mismatch body.username`},
		{"a password of 7", user("enrico", mail, "sevench"), `string_too_short body.password`},
		{"a password of 73 bytes", user("enrico", mail, strings.Repeat("x", 73)), `string_too_long body.password`},
		{"a password of 37 characters, 74 bytes", user("enrico", mail, strings.Repeat("ü", 37)), `string_too_long body.password`},
		{"a password of 5000 bytes", user("enrico", mail, strings.Repeat("x", 5000)), `string_too_long body.password`},
		{"a password with NUL", user("enrico", mail, "abcdefgh\x00abcdefgh"), `value_error body.password`},
		{"a password with a tab", user("enrico", mail, "abcd\tefgh"), `value_error body.password`},
		{"a password with half a surrogate pair", `{"username":"enrico","email":"enrico@example.com","password":"abcdefgh\ud800"}`, `value_error body.password`},
		{"a short password with NUL", user("enrico", mail, "a\x00"), `string_too_short body.password, value_error body.password`},
		{"the lesson's field, too short", `{"username":"enrico","email":"enrico@example.com","hashed_password":"short"}`, `string_too_short body.hashed_password`},
		{"both fields, unlike", `{"username":"enrico","email":"enrico@example.com","hashed_password":"plaintextpassword","password":"plaintextpassworD"}`, `value_error body.hashed_password`},
		{"both fields, one null", `{"username":"enrico","email":"enrico@example.com","hashed_password":"plaintextpassword","password":null}`, `string_type body.password`},
		{"an e-mail with a display name", user("enrico", "Enrico <enrico@example.com>", good), `value_error body.email`},
		{"in angle brackets", user("enrico", "<enrico@example.com>", good), `value_error body.email`},
		{"with a comment", user("enrico", "enrico@example.com (Enrico)", good), `value_error body.email`},
		{"with a domain literal", user("enrico", "enrico@[127.0.0.1]", good), `value_error body.email`},
		{"quoted", user("enrico", `"enrico"@example.com`, good), `value_error body.email`},
		{"two of them", user("enrico", "a@example.com,b@example.com", good), `value_error body.email`},
		{"a group", user("enrico", "g:a@example.com;", good), `value_error body.email`},
		{"none", user("enrico", "enrico", good), `value_error body.email`},
		{"with a space before", user("enrico", " enrico@example.com", good), `value_error body.email`},
		{"with a right-to-left mark", user("enrico", "enrico\u202e@example.com", good), `value_error body.email`},
		{"with half a surrogate pair", `{"username":"enrico","email":"\udfff@example.com","password":"plaintextpassword"}`, `value_error body.email`},
		{"of 255", user("enrico", strings.Repeat("x", 243)+"@example.com", good), `string_too_long body.email`},
	} {
		a := s.signup(t, row.body)
		a.faults(t, row.what, row.want)
		if a.header(t, "Content-Type", "application/json"); strings.Contains(a.body, "enrico") || strings.Contains(a.body, "plaintext") {
			t.Errorf("%s: the answer repeats the input: %s", row.what, a.body)
		}
	}
	if _, err := os.Stat(s.users); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused sign-up touched the file: %v", err)
	}
	// What is just within the limits is fine.
	for i, body := range []string{
		user("x", "a@b", "eight ch"),
		user(strings.Repeat("x", 64), strings.Repeat("x", 242)+"@example.com", strings.Repeat("x", 72)),
		user("enrico", "ünï@exämple.com", strings.Repeat("ü", 36)),
	} {
		s.signup(t, body).is(t, 201, fmt.Sprintf(`{"message":"User created","user_id":%d}`, i+1))
	}

	for _, row := range []struct{ what, body, error, want string }{
		{"no body", ``, "invalid_request", `missing body.username, missing body.password`},
		{"empty values", `username=&password=`, "invalid_request", `missing body.username, missing body.password`},
		{"no password", `username=enrico`, "invalid_request", `missing body.password`},
		{"two usernames", `username=enrico&username=enrico&password=x`, "invalid_request", `value_error body.username`},
		{"two passwords, one %-spelled", `username=enrico&password=x&pass%77ord=y`, "invalid_request", `value_error body.password`},
		{"two of what we don't know", `username=enrico&password=x&enrico=1&enrico=2`, "invalid_request", `value_error body`},
		{"many of that", `username=enrico&password=x&a=&a=&b=&b=&c=&c=&scope=&scope=`, "invalid_request", `value_error body.scope, value_error body`},
		{"bad %-encoding", `username=%zz&password=x`, "invalid_request", `value_error body`},
		{"another grant", `grant_type=client_credentials`, "unsupported_grant_type", `missing body.username, missing body.password, string_pattern_mismatch body.grant_type`},
		{"another grant with credentials", `grant_type=enrico&username=enrico&password=x`, "unsupported_grant_type", `string_pattern_mismatch body.grant_type`},
	} {
		a := s.do(t, "POST", "/auth/login", row.body, "Content-Type", "application/x-www-form-urlencoded")
		a.faults(t, row.what, row.want)
		if !strings.HasSuffix(a.body, `],"error":"`+row.error+`"}`) || strings.Contains(a.body, "enrico") {
			t.Errorf("%s: %s", row.what, a.body)
		}
	}
	s.do(t, "POST", "/auth/login?username=enrico&password=plaintextpassword", "", "Content-Type", "application/x-www-form-urlencoded").
		faults(t, "credentials in the query", `missing body.username, missing body.password`)
}

// TestOneNameManyClients holds that of many sign-ups of one name at the same time one wins.
func TestOneNameManyClients(t *testing.T) {
	s := newService(t)
	var created, exists atomic.Int32
	var clients sync.WaitGroup
	for i := range 50 {
		clients.Go(func() {
			name := []string{"enrico", "Enrico", "ENRICO", "enRICO"}[i%4]
			a := s.signup(t, `{"username":"`+name+`","email":"enrico@example.com","password":"plaintextpassword"}`)
			switch a.status {
			case 201:
				created.Add(1)
			case 400:
				exists.Add(1)
				a.is(t, 400, `{"detail":"Username already exists"}`)
			}
		})
	}
	clients.Wait()
	if created.Load() != 1 || exists.Load() != 49 {
		t.Errorf("%d were told 201 and %d were told 400, want 1 and 49", created.Load(), exists.Load())
	}
	if text := readFile(t, s.users); strings.Count(strings.ToLower(text), `"username":"enrico"`) != 1 || strings.Count(text, "\n") != 3 {
		t.Errorf("the file has not one line for the user:\n%s", text)
	}
}

// TestOAuthClient holds what golang.org/x/oauth2's PasswordCredentialsToken sends and reads.
func TestOAuthClient(t *testing.T) {
	s := newService(t)
	s.signup(t, lessonSignup)
	const form = "grant_type=password&password=plaintextpassword&scope=read+write&username=enrico"
	for _, authorization := range []string{"Basic Y2xpZW50OnNlY3JldA==", "Basic Og=="} { // its way to try a client id first
		a := s.do(t, "POST", "/auth/login", form, "Content-Type", "application/x-www-form-urlencoded", "Authorization", authorization)
		var token struct {
			AccessToken string `json:"access_token"`
			TokenType   string `json:"token_type"`
			ExpiresIn   int    `json:"expires_in"`
		}
		if err := json.Unmarshal([]byte(a.body), &token); err != nil || a.status != 200 {
			t.Fatal(a.status, a.body, err)
		}
		if token.TokenType != "bearer" || token.ExpiresIn != 3600 {
			t.Errorf("token_type %q, expires_in %d", token.TokenType, token.ExpiresIn)
		}
		a.header(t, "Content-Type", "application/json").header(t, "Cache-Control", "no-store")
		s.do(t, "GET", "/auth/me", "", "Authorization", "Bearer "+token.AccessToken).contains(t, 200, `"enrico"`)
	}
	// And its error: error is what the client reports.
	s.do(t, "POST", "/auth/login", strings.Replace(form, "plaintext", "wrong", 1), "Content-Type", "application/x-www-form-urlencoded").
		contains(t, 401, `"error":"invalid_grant"`)
}

// ---------------------------------------------------------------------------------------------------------------------
// Requests and answers

// TestEveryPath holds what every answer has in common. Each row is a request as it goes over the wire.
func TestEveryPath(t *testing.T) {
	s := newService(t)
	s.signup(t, lessonSignup)
	const asForm = "\r\nContent-Type: application/x-www-form-urlencoded"
	const asJSON = "\r\nContent-Type: application/json"
	const formOnly = `{"detail":"Content-Type must be application/x-www-form-urlencoded","error":"invalid_request"}`
	const jsonOnly = `{"detail":"Content-Type must be application/json"}`
	const tooLarge = `{"detail":"Body must be at most 65536 bytes"}`
	const tooLargeForm = `{"detail":"Body must be at most 65536 bytes","error":"invalid_request"}`
	const crossOrigin = `{"detail":"Cross-origin request refused"}`
	const notFound, notAllowed = `{"detail":"Not Found"}`, `{"detail":"Method Not Allowed"}`
	for _, row := range []struct {
		request string // without the body's length
		body    string
		status  int
		want    string
	}{
		{"GET /healthz", "", 200, `{"status":"ok"}`},
		{"HEAD /healthz", "", 200, ``},
		{"GET /nosuch", "", 404, notFound},
		{"POST /auth", "", 404, notFound},
		{"GET /auth/me/", "", 404, notFound},
		{"GET /AUTH/ME", "", 404, notFound},
		{"GET /auth/%6De", "", 401, `{"detail":"Not authenticated"}`},
		{"GET /auth/signup", "", 405, notAllowed},
		{"PUT /auth/signup", "", 405, notAllowed},
		{"DELETE /auth/signup", "", 405, notAllowed},
		{"OPTIONS /auth/signup", "", 405, notAllowed},
		{"GET /auth/login", "", 405, notAllowed},
		{"PUT /auth/login", "", 405, notAllowed},
		{"DELETE /auth/login", "", 405, notAllowed},
		{"OPTIONS /auth/login", "", 405, notAllowed},
		{"POST /auth/me", "", 405, notAllowed},
		{"TRACE /auth/me\r\nX-Secret: do not echo", "", 405, notAllowed},
		{"BREW /healthz", "", 405, notAllowed},

		{"POST /auth/signup", lessonSignup, 415, jsonOnly},
		{"POST /auth/signup\r\nContent-Type: text/plain", lessonSignup, 415, jsonOnly},
		{"POST /auth/signup" + asForm, lessonSignup, 415, jsonOnly},
		{"POST /auth/signup\r\nContent-Type: application/jsonp", lessonSignup, 415, jsonOnly},
		{"POST /auth/signup\r\nContent-Type: Application/JSON; charset=UTF-8", lessonSignup, 400, `{"detail":"Username already exists"}`},
		{"POST /auth/login", "username=enrico&password=plaintextpassword", 415, formOnly},
		{"POST /auth/login\r\nContent-Type: text/plain", "username=enrico&password=plaintextpassword", 415, formOnly},
		{"POST /auth/login" + asJSON, `{"username":"enrico","password":"plaintextpassword"}`, 415, formOnly},
		{"POST /auth/login\r\nContent-Type: multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\nenrico\r\n--x--", 415, formOnly},

		{"POST /auth/signup" + asJSON, `{"a":"` + strings.Repeat("x", 64<<10), 413, tooLarge},
		{"POST /auth/login" + asForm, strings.Repeat("x", 64<<10) + "x", 413, tooLargeForm},
		{"POST /auth/login" + asForm, strings.Repeat("a&", 200_000), 413, tooLargeForm},
		{"POST /auth/login" + asForm, strings.Repeat("a&", 32<<10), 422, `{"detail":[{"type":"value_error","loc":["body"],"msg":"Value is not a valid form"}],"error":"invalid_request"}`},
		{"POST /auth/signup" + asJSON, strings.Repeat(" ", 64<<10-len(lessonSignup)) + lessonSignup, 400, `{"detail":"Username already exists"}`},
		{"POST /auth/signup" + asJSON + "\r\nContent-Length: 10000000000\r\nExpect: 100-continue", "", 413, tooLarge},
		{"GET /healthz\r\nContent-Length: 10000000000", "", 413, tooLarge},
		{"POST /auth/signup" + asJSON + "\r\nTransfer-Encoding: chunked", "10001\r\n" + strings.Repeat(" ", 0x10001) + "\r\n0\r\n\r\n", 413, tooLarge},
		{"POST /auth/login" + asForm + "\r\nTransfer-Encoding: chunked", "10001\r\n" + strings.Repeat("x", 0x10001) + "\r\n0\r\n\r\n", 413, tooLargeForm},
		{"POST /auth/login" + asForm + "\r\nTransfer-Encoding: chunked", "zz\r\n", 422, `{"detail":[{"type":"value_error","loc":["body"],"msg":"Body could not be read to its end"}],"error":"invalid_request"}`},

		{"POST /auth/signup" + asJSON + "\r\nOrigin: http://evil.example", lessonSignup, 403, crossOrigin},
		{"POST /auth/signup" + asJSON + "\r\nSec-Fetch-Site: cross-site", lessonSignup, 403, crossOrigin},
		{"POST /auth/login" + asForm + "\r\nSec-Fetch-Site: same-site", "username=a&password=b", 403, `{"detail":"Cross-origin request refused","error":"invalid_request"}`},
		{"POST /auth/signup" + asJSON + "\r\nSec-Fetch-Site: same-origin", lessonSignup, 400, `{"detail":"Username already exists"}`},
		{"GET /healthz\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: cross-site", "", 200, `{"status":"ok"}`},
	} {
		a := s.raw(t, row.request, row.body)
		name, _, _ := strings.Cut(row.request, "\r\nContent-Length")
		if a.status != row.status || a.body != row.want {
			t.Errorf("%q: %d %s, want %d %s", name, a.status, a.body, row.status, row.want)
		}
		a.header(t, "Content-Type", "application/json").header(t, "X-Content-Type-Options", "nosniff").
			header(t, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'").header(t, "Server", "")
		if cached := a.headers.Get("Cache-Control"); strings.Contains(row.request, " /auth/") != (cached == "no-store") {
			t.Errorf("%q: Cache-Control %q", name, cached)
		}
		switch a.status {
		case 405:
			method, path, _ := strings.Cut(name, " ")
			if allow := a.headers.Get("Allow"); allow == "" || strings.Contains(allow, method) {
				t.Errorf("%s %s: Allow %q", method, path, allow)
			}
		case 415, 422:
			if strings.Contains(a.body, "enrico") {
				t.Errorf("%q: the answer repeats the input: %s", name, a.body)
			}
		}
		for _, internal := range []string{"json:", "mime:", "http:", "echo", "users.json"} {
			if strings.Contains(a.body, internal) {
				t.Errorf("%q: the answer shows internals: %s", name, a.body)
			}
		}
	}
	a := s.raw(t, "GET /", "")
	a.header(t, "Location", "/docs")
	if a.status != 307 {
		t.Errorf("GET /: %d, want 307", a.status)
	}
	if a := s.raw(t, "GET //auth/../healthz?x=1", ""); a.headers.Get("Location") != "/healthz?x=1" {
		t.Errorf("a path with dots leads to %q", a.headers.Get("Location"))
	}
}

// ---------------------------------------------------------------------------------------------------------------------
// Tokens

// TestRFC7515 verifies the example of RFC 7515, appendix A.1, and nothing that differs from it by one byte.
func TestRFC7515(t *testing.T) {
	key, err := base64.RawURLEncoding.DecodeString("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	if err != nil {
		t.Fatal(err)
	}
	const token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ" +
		".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	lastSecond := time.Unix(1300819379, 999_999_999)
	if c, err := verifyToken(key, token, lastSecond); err != nil || c.Expires != 1300819380 {
		t.Errorf("the example: %+v, %v", c, err)
	}
	if _, err := verifyToken(key, token, time.Unix(1300819380, 0)); err == nil {
		t.Error("the example passes at its exp")
	}
	for i := range len(token) {
		for _, b := range []byte("A=.\x00 ~") {
			if forged := token[:i] + string(b) + token[i+1:]; forged != token {
				if _, err := verifyToken(key, forged, lastSecond); err == nil {
					t.Fatalf("passes with byte %d changed to %q", i, b)
				}
			}
		}
	}
}

// TestForgedTokens changes every byte of a real token, respells it, and makes others that ought to fail.
func TestForgedTokens(t *testing.T) {
	s := newService(t)
	s.signup(t, lessonSignup)
	good := s.token(t, "enrico", "plaintextpassword")
	parts := strings.Split(good, ".")
	if header := decode(t, parts[0]); header != `{"alg":"HS256","typ":"JWT"}` {
		t.Errorf("header %s", header)
	}
	payload := decode(t, parts[1])
	if !regexp.MustCompile(`^{"sub":"1","iat":\d{10},"exp":\d{10},"pwd":"[\w-]{11}"}$`).MatchString(payload) {
		t.Errorf("payload %s", payload)
	}
	// This is how any JWT library signs: if it fails, ours isn't HS256.
	resign := func(unsigned string, key []byte) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(unsigned))
		return unsigned + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	sign := func(header, payload string, key []byte) string {
		return resign(base64.RawURLEncoding.EncodeToString([]byte(header))+"."+base64.RawURLEncoding.EncodeToString([]byte(payload)), key)
	}
	const header = `{"alg":"HS256","typ":"JWT"}`
	if other := sign(header, payload, s.server.key); other != good {
		t.Fatalf("got  %s\nwant %s", good, other)
	}
	// claim returns the payload with one more claim, which wins over an earlier one of that name.
	claim := func(more string) string { return strings.TrimSuffix(payload, "}") + "," + more + "}" }
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	// sloppy spells the same bytes with an idle bit set; the payload's length is 3n+2 or 3n+1, so that there is one.
	sloppy := func(part string) string {
		return part[:len(part)-1] + string(alphabet[strings.IndexByte(alphabet, part[len(part)-1])^1])
	}
	if len(parts[1])%4 == 0 {
		t.Fatalf("the payload has no idle bits: %s", payload)
	}
	forged := map[string]string{
		"alg none":                      sign(`{"alg":"none","typ":"JWT"}`, payload, s.server.key),
		"alg none, unsigned":            base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"alg HS512":                     sign(`{"alg":"HS512"}`, payload, s.server.key),
		"alg hs256":                     sign(`{"alg":"hs256"}`, payload, s.server.key),
		"alg missing":                   sign(`{"typ":"JWT"}`, payload, s.server.key),
		"crit":                          sign(`{"alg":"HS256","crit":["b64"],"b64":false}`, payload, s.server.key),
		"a key of its own":              sign(`{"alg":"HS256","jwk":{"kty":"oct","k":"YXR0YWNrZXI"}}`, payload, []byte("attacker")),
		"a key at a URL":                sign(`{"alg":"HS256","jku":"http://127.0.0.1/","kid":"../../dev/null"}`, payload, nil),
		"an empty key":                  sign(header, payload, nil),
		"another instance's key":        sign(header, payload, []byte(strings.Repeat("k", 32))),
		"no signature":                  parts[0] + "." + parts[1] + ".",
		"two parts":                     parts[0] + "." + parts[1],
		"four parts":                    good + "." + parts[2],
		"one part":                      parts[2],
		"five parts, as encrypted":      "a.b.c.d.e",
		"only dots":                     "..",
		"padding":                       good + "=",
		"another spelling of the same":  sloppy(good),
		"the other alphabet":            strings.NewReplacer("-", "+", "_", "/").Replace(sign(header, claim(`"x":"???>>>~~~"`), s.server.key)) + "/",
		"a space before":                "\t" + good,
		"a second token":                good + " " + good,
		"huge":                          strings.Repeat("A", 14<<10),
		"nested":                        sign(header, strings.Repeat(`{"a":`, 2000)+"1"+strings.Repeat("}", 2000), s.server.key),
		"a payload of another spelling": resign(parts[0]+"."+sloppy(parts[1]), s.server.key),
		"a header that is no object":    sign(`"HS256"`, payload, s.server.key),
		"a payload that is no JSON":     sign(header, payload+"}", s.server.key),
		"no exp":                        sign(header, regexp.MustCompile(`"exp":\d+,`).ReplaceAllString(payload, ""), s.server.key),
		"exp null":                      sign(header, regexp.MustCompile(`"exp":\d+`).ReplaceAllString(payload, `"exp":null`), s.server.key),
		"exp past":                      sign(header, claim(`"exp":1000000000`), s.server.key),
		"exp 0":                         sign(header, claim(`"exp":0`), s.server.key),
		"exp text":                      sign(header, claim(`"exp":"9999999999"`), s.server.key),
		"sub of nobody":                 sign(header, claim(`"sub":"2"`), s.server.key),
		"sub a number":                  sign(header, claim(`"sub":1`), s.server.key),
		"sub empty":                     sign(header, claim(`"sub":""`), s.server.key),
		"sub with a sign":               sign(header, claim(`"sub":"0x1"`), s.server.key),
		"another fingerprint":           sign(header, claim(`"pwd":"AAAAAAAAAAA"`), s.server.key),
		"no fingerprint":                sign(header, claim(`"pwd":""`), s.server.key),
	}
	for i := range len(good) {
		for _, b := range []byte{'A', '.', good[i] ^ 1, good[i] ^ 0x20} {
			if b != good[i] && b > ' ' && b < 0x7f {
				forged[fmt.Sprintf("byte %d as %q", i, b)] = good[:i] + string(b) + good[i+1:]
			}
		}
	}
	for what, token := range forged {
		a := s.do(t, "GET", "/auth/me", "", "Authorization", "Bearer "+token)
		if a.status != 401 || a.body != `{"detail":"Could not validate credentials"}` ||
			a.headers.Get("WWW-Authenticate") != `Bearer realm="auth", error="invalid_token"` {
			t.Errorf("%s: %d %s %v", what, a.status, a.body, a.headers)
		}
	}
	// Claims that we don't know harm nobody.
	s.do(t, "GET", "/auth/me", "", "Authorization", "Bearer "+sign(header, claim(`"role":"x"`), s.server.key)).contains(t, 200, `"id":1`)
}

// TestTokenTime holds that a token ends after its time to live, to the second.
func TestTokenTime(t *testing.T) {
	now := time.Unix(1_800_000_000, 999_000_000)
	s := newService(t, func(s *server) { s.now = func() time.Time { return now } })
	s.signup(t, lessonSignup)
	a := s.login(t, "enrico", "plaintextpassword")
	a.contains(t, 200, `"expires_in":3600`)
	token := s.token(t, "enrico", "plaintextpassword")
	if payload := decode(t, strings.Split(token, ".")[1]); !strings.HasPrefix(payload, `{"sub":"1","iat":1800000000,"exp":1800003600,`) {
		t.Errorf("payload %s", payload)
	}
	for _, row := range []struct{ at, status int }{{0, 200}, {3599, 200}, {3600, 401}, {1 << 30, 401}} {
		now = time.Unix(int64(1_800_000_000+row.at), 0)
		if a := s.do(t, "GET", "/auth/me", "", "Authorization", "Bearer "+token); a.status != row.status {
			t.Errorf("after %d s: %d, want %d", row.at, a.status, row.status)
		}
	}
}

// TestVoidTokens holds that a token ends at once with what it stands for, and comes back with it.
func TestVoidTokens(t *testing.T) {
	s := newService(t)
	s.signup(t, lessonSignup)
	s.signup(t, `{"username":"anna","email":"anna@example.com","password":"plaintextpassword"}`)
	token := s.token(t, "enrico", "plaintextpassword")
	me := func() answer { return s.do(t, "GET", "/auth/me", "", "Authorization", "Bearer "+token) }
	before := readFile(t, s.users)
	lines := strings.Split(before, "\n") // [ enrico anna ]
	hashOf := func(line string) string { return regexp.MustCompile(`\$2a\$[^"]+`).FindString(line) }
	for _, edit := range []struct {
		what, text string
		status     int
	}{
		{"nothing", before, 200},
		{"disabled", strings.Replace(before, `"is_active":true`, `"is_active":false`, 1), 401},
		{"removed", "[\n" + lines[2] + "\n]\n", 401},
		{"everybody removed", "[]", 401},
		{"another password", strings.Replace(before, hashOf(lines[1]), newHash(t, "another password", 4), 1), 401},
		{"ids exchanged", strings.NewReplacer(`"id":1,`, `"id":2,`, `"id":2,`, `"id":1,`).Replace(before), 401},
		{"somebody else of the same hash", strings.Replace(before, `"enrico"`, `"enrica"`, 1), 401},
		{"another e-mail", strings.Replace(before, `"enrico@example.com"`, `"enrico@example.org"`, 1), 200},
	} {
		writeFile(t, s.users, edit.text)
		if a := me(); a.status != edit.status {
			t.Errorf("%s: %d, want %d", edit.what, a.status, edit.status)
		}
		writeFile(t, s.users, before)
		if a := me(); a.status != 200 {
			t.Errorf("back again after %s: %d", edit.what, a.status)
		}
	}
	// An id that is given again does not bring its last holder's token back.
	writeFile(t, s.users, "[]")
	s.signup(t, `{"username":"carla","email":"carla@example.com","password":"plaintextpassword"}`).is(t, 201, `{"message":"User created","user_id":1}`)
	if a := me(); a.status != 401 {
		t.Errorf("the id belongs to somebody else: %d", a.status)
	}
}

// ---------------------------------------------------------------------------------------------------------------------
// Passwords

// TestOneAnswer holds that a log-in fails in one way, whatever the reason, and always at the cost of the hashing slots.
func TestOneAnswer(t *testing.T) {
	s := newService(t)
	s.signup(t, lessonSignup)
	writeFile(t, s.users, `[
		{"id":1,"username":"enrico","email":"e@example.com","hashed_password":"`+newHash(t, "plaintextpassword", 4)+`","is_active":true},
		{"id":2,"username":"disabled","email":"e@example.com","hashed_password":"`+newHash(t, "plaintextpassword", 4)+`","is_active":false},
		{"id":3,"username":"cyclic","email":"e@example.com","hashed_password":"`+newHash(t, "abcdefgh", 4)+`","is_active":true},
		{"id":4,"username":"longest","email":"e@example.com","hashed_password":"`+newHash(t, strings.Repeat("x", 72), 4)+`","is_active":true},
		{"id":5,"username":"short","email":"e@example.com","hashed_password":"`+newHash(t, "short", 4)+`","is_active":true},
		{"id":6,"username":"passlib","email":"e@example.com","hashed_password":"`+strings.Replace(newHash(t, "plaintextpassword", 4), "$2a$", "$2b$", 1)+`","is_active":true}
	]`)
	for _, row := range [][2]string{{"enrico", "plaintextpassword"}, {"cyclic", "abcdefgh"}, {"longest", strings.Repeat("x", 72)},
		{"short", "short"}, {"passlib", "plaintextpassword"}} { // a hash from elsewhere logs in, whatever sign-up asks for
		s.login(t, row[0], row[1]).contains(t, 200, `"Login successful"`)
	}
	var first answer
	for i, row := range [][2]string{
		{"enrico", "wrong"},
		{"nobody", "plaintextpassword"},
		{"disabled", "plaintextpassword"},
		{"disabled", "wrong"},
		{"longest", strings.Repeat("x", 73)},
		{"longest", strings.Repeat("x", 60_000)},
		{"cyclic", "abcdefgh\x00abcdefgh"},
		{"cyclic", "abcdefgh\x00"},
		{"enrico", "plaintextpassword "},
		{"enrico", "plaintextpassword\xff"},
		{"enrico\x00", "plaintextpassword"},
		{"enrico\xff", "plaintextpassword"},
		{"enrico ", "plaintextpassword"},
		{strings.Repeat("x", 60_000), "plaintextpassword"},
	} {
		const work = `msg="compared with bcrypt" cost=4 rounds=16 `
		before := strings.Count(s.log.String(), work)
		a := s.login(t, row[0], row[1])
		a.headers.Del("Date")
		if i == 0 {
			first = a
			a.is(t, 401, `{"detail":"Invalid credentials","error":"invalid_grant"}`)
		}
		if a.status != first.status || a.body != first.body || fmt.Sprint(a.headers) != fmt.Sprint(first.headers) {
			t.Errorf("%.20q with %.20q: %v, want %v", row[0], row[1], a, first)
		}
		if strings.Count(s.log.String(), work) != before+1 {
			t.Errorf("%.20q with %.20q was not as much work as the others", row[0], row[1])
		}
	}
}

// TestDecoys holds that a decoy is as much work as a hash of its cost: bcrypt takes it for one, to the last byte.
func TestDecoys(t *testing.T) {
	for cost := minCost; cost <= maxCost; cost++ {
		if got, err := bcrypt.Cost(decoy(cost)); err != nil || got != cost || !isBcryptHash(string(decoy(cost))) {
			t.Errorf("decoy(%d): cost %d, %v", cost, got, err)
		}
	}
	if err := bcrypt.CompareHashAndPassword(decoy(4), []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Errorf("bcrypt did not get to comparing: %v", err)
	}
}

// TestCost holds that -cost is what sign-up hashes with, that hashes of other costs still log in, and that a refusal is the
// work of the configured cost all the same.
func TestCost(t *testing.T) {
	s := newService(t, func(s *server) { s.cost = 7 })
	s.signup(t, lessonSignup)
	if text := readFile(t, s.users); !strings.Contains(text, `"hashed_password":"$2a$07$`) {
		t.Errorf("not a hash of cost 7: %s", text)
	}
	for cost, work := range map[int][2]int{4: {16, 128}, 6: {64, 128}, 7: {128, 128}, 8: {256, 256}} {
		log := len(s.log.String())

		writeFile(t, s.users, `[{"id":1,"username":"enrico","email":"e@example.com","hashed_password":"`+newHash(t, "plaintextpassword", cost)+`","is_active":true}]`)
		s.login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
		s.login(t, "enrico", "wrong").contains(t, 401, `"Invalid credentials"`)
		done := regexp.MustCompile(`"compared with bcrypt" cost=\d+ rounds=(\d+)`).FindAllStringSubmatch(s.log.String()[log:], -1)
		if len(done) != 2 || done[0][1] != strconv.Itoa(work[0]) || done[1][1] != strconv.Itoa(work[1]) {
			t.Errorf("a hash of cost %d: %v rounds, want %v", cost, done, work)
		}
	}
}

// ---------------------------------------------------------------------------------------------------------------------
// The users file

// TestStopAndStart holds that users outlive the program, and tokens too if the key does.
func TestStopAndStart(t *testing.T) {
	secret, other := "AUTH_SECRET="+strings.Repeat("s", 32), "AUTH_SECRET="+strings.Repeat("o", 32)
	p := start(t, "-cost", "4", secret)
	p.signup(t, lessonSignup).is(t, 201, `{"message":"User created","user_id":1}`)
	if got, want := readFile(t, p.users), "[\n"+`{"id":1,"username":"enrico","email":"enrico@example.com","hashed_password":"$2a$04$`; !strings.HasPrefix(got, want) ||
		!strings.HasSuffix(got, `","is_active":true}`+"\n]\n") {
		t.Errorf("the file is\n%s", got)
	}
	token := p.token(t, "enrico", "plaintextpassword")
	p.kill() // 201 was durable

	p = start(t, "-cost", "4", "-users", p.users, secret)
	p.me(t, token).contains(t, 200, `"enrico"`)
	p.login(t, "Enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
	p.signup(t, lessonSignup).is(t, 400, `{"detail":"Username already exists"}`)
	if status := p.signUp(t, "anna"); status != 201 {
		t.Error(status)
	}
	p.kill()

	p = start(t, "-cost", "4", "-users", p.users, other)
	p.me(t, token).is(t, 401, `{"detail":"Could not validate credentials"}`)
	p.login(t, "anna", "plaintextpassword").contains(t, 200, `"user_id":2`)
}

// TestCrash kills the program again and again while clients sign up, and looks in the file for everybody who was told 201.
func TestCrash(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.json")
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for round := range 8 {
		p := start(t, "-cost", "4", "-users", users)
		if entries, _ := os.ReadDir(filepath.Dir(users)); round > 0 && len(entries) != 1 {
			t.Errorf("round %d: not only the users file is there: %v", round, entries)
		}
		var clients sync.WaitGroup
		enough := make(chan struct{})
		var count atomic.Int32
		for c := range 4 {
			clients.Go(func() {
				for i := 0; ; i++ {
					name := fmt.Sprintf("u%d-%d-%d", round, c, i)
					a, err := p.try("POST", "/auth/signup", `{"username":"`+name+`","email":"a@b","password":"plaintextpassword"}`, "Content-Type", "application/json")
					if err != nil {
						return // killed
					}
					if a.status == 201 {
						mu.Lock()
						acknowledged[name] = true
						mu.Unlock()
					}
					if count.Add(1) == int32(5+11*round) {
						close(enough)
					}
				}
			})
		}
		<-enough
		p.kill()
		clients.Wait()
		text := readFile(t, users)
		var stored []struct{ Username string }
		if err := json.Unmarshal([]byte(text), &stored); err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, text)
		}
		for _, u := range stored {
			delete(acknowledged, u.Username)
		}
		if len(acknowledged) > 0 {
			t.Fatalf("round %d: told 201, and gone: %v", round, slices.Collect(maps.Keys(acknowledged)))
		}
		for _, u := range stored {
			acknowledged[u.Username] = true
		}
	}
	start(t, "-cost", "4", "-users", users).login(t, "u0-0-0", "plaintextpassword").contains(t, 200, `"token_type"`)
}

// TestCutFile cuts a users file at every byte: the program refuses each, says where, and leaves it alone.
func TestCutFile(t *testing.T) {
	text := strings.TrimSuffix(readFile(t, "users.json.example"), "\n") // what is left still ends with its bracket
	users := filepath.Join(t.TempDir(), "users.json")
	for n := range len(text) {
		writeFile(t, users, text[:n])
		age(t, users)
		var stderr bytes.Buffer
		status := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-users", users}, noEnvironment, &stderr)
		if !regexp.MustCompile(`^authflow: \S+users\.json:[1-4]:\d+: .+\n$`).MatchString(stderr.String()) || status != 1 {
			t.Fatalf("cut at %d: exit status %d, %s", n, status, &stderr)
		}
		if readFile(t, users) != text[:n] {
			t.Fatalf("cut at %d: the file was touched", n)
		}
	}
}

// TestBrokenEdits holds that an edit which can't be read is neither believed nor overwritten.
func TestBrokenEdits(t *testing.T) {
	hash := newHash(t, "plaintextpassword", 4)
	one := `{"id":1,"username":"enrico","email":"e@example.com","hashed_password":"` + hash + `","is_active":true}`
	two := strings.NewReplacer(`"id":1`, `"id":2`, "enrico", "anna").Replace(one)
	for _, row := range []struct{ what, text, want string }{
		{"empty", "", `users.json:1:1: the file is empty: write [] into it, or remove it`},
		{"half a document", "[\n" + one + ",\n" + two[:20], `users.json:3:20: not JSON, or not all of it`},
		{"a stray comma", "[\n" + one + ",\n]\n", `users.json:3:1: not JSON, or not all of it: invalid character ']'`},
		{"a comma too few", "[\n" + one + "\n" + two + "\n]\n", `users.json:3:1: not JSON, or not all of it: invalid character '{'`},
		{"a second document", "[\n" + one + "\n]\n[]\n", `users.json:4:1: not JSON, or not all of it: invalid character '['`},
		{"no JSON at all", "users:\n- enrico\n", `users.json:1:1: not JSON`},
		{"an object", one, `users.json:1:1: not a JSON array of users, one object each`},
		{"null", "null", `users.json:1:1: not a JSON array of users, but null`},
		{"a number for a user", "[\n" + one + ",\n 7\n]", `users.json:3:2: not a JSON array of users, one object each`},
		{"null for a user", "[\n" + one + ",\nnull\n]", `users.json:3:1: id is missing or below 1`},
		{"duplicate ids", "[\n" + one + ",\n" + strings.Replace(two, `"id":2`, `"id":1`, 1) + "\n]", `users.json:3:1: id 1 is used twice`},
		{"duplicate names", "[\n" + one + ",\n" + strings.Replace(two, "anna", "ENRICO", 1) + "\n]", `users.json:3:1: username \"ENRICO\" is used twice; letter case doesn't count`},
		{"no id", "[\n  " + strings.Replace(one, `"id":1,`, "", 1) + "\n]", `users.json:2:3: id is missing or below 1`},
		{"an id of 1.5", "[\n" + strings.Replace(one, `"id":1`, `"id":1.5`, 1) + "\n]", `users.json:2:9: id has the wrong type: it can't be a number 1.5`},
		{"an id of 2**63", "[\n" + strings.Replace(one, `"id":1`, `"id":9223372036854775808`, 1) + "\n]", `users.json:2:25: id has the wrong type`},
		{"no name", "[\n" + strings.Replace(one, `"username":"enrico",`, "", 1) + "\n]", `users.json:2:1: username is missing or empty`},
		{"no e-mail", "[\n" + strings.Replace(one, `"email":"e@example.com",`, "", 1) + "\n]", `users.json:2:1: email is missing or empty`},
		{"no hash", "[\n" + strings.Replace(one, hash, "plaintextpassword", 1) + "\n]", `users.json:2:1: hashed_password is missing or no bcrypt hash of cost 4 to 16`},
		{"a hash too short", "[\n" + strings.Replace(one, hash, hash[:59], 1) + "\n]", `no bcrypt hash`},
		{"a hash with a character of no base64", "[\n" + strings.Replace(one, hash, hash[:59]+"!", 1) + "\n]", `no bcrypt hash`},
		{"a hash that takes hours", "[\n" + strings.Replace(one, "$04$", "$31$", 1) + "\n]", `no bcrypt hash`},
		{"is_active misspelt", "[\n" + strings.Replace(one, "is_active", "isactive", 1) + "\n]", `users.json:2:1: is_active is missing`},
		{"is_active as text", "[\n" + strings.Replace(one, "true", `"no"`, 1) + "\n]", `is_active has the wrong type: it can't be a string`},
		{"not UTF-8, after a replacement character", "[\n" + strings.Replace(one, "enrico", "\ufffd\xfc", 1) + "\n]", `users.json:2:22: not UTF-8 text: save it as UTF-8`},
		{"not UTF-8", "[\n" + strings.Replace(one, "enrico", "ü\xfc", 1) + "\n]", `users.json:2:22: not UTF-8 text: save it as UTF-8`},
	} {
		s := newService(t)
		s.signup(t, lessonSignup)
		writeFile(t, s.users, "[\n"+one+"\n]\n")
		token := s.token(t, "enrico", "plaintextpassword")
		writeFile(t, s.users, row.text)
		for range 2 {
			s.login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
			s.me(t, token).contains(t, 200, `"e@example.com"`)
		}
		if text := s.log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, row.want) {
			t.Errorf("%s: the log has not one line with %s:\n%s", row.what, row.want, text)
		}
		for range 2 {
			s.signup(t, `{"username":"carla","email":"a@b","password":"plaintextpassword"}`).
				is(t, 503, `{"detail":"Users cannot be stored just now"}`).header(t, "Retry-After", "5")
		}
		if readFile(t, s.users) != row.text {
			t.Errorf("%s: the edit was overwritten", row.what)
		}
		if strings.Contains(s.log.String(), hash) || strings.Contains(s.log.String(), "plaintextpassword") {
			t.Errorf("%s: a secret is in the log", row.what)
		}
		age(t, s.users)
		var stderr bytes.Buffer
		if status := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-users", s.users}, noEnvironment, &stderr); status != 1 ||
			!strings.Contains(stderr.String(), strings.ReplaceAll(row.want, `\"`, `"`)) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: at the start: exit status %d, %s", row.what, status, &stderr)
		}
		writeFile(t, s.users, "[\n"+one+",\n"+two+"\n]\n")
		if status := s.signUp(t, "carla"); status != 201 {
			t.Errorf("%s: mended, sign-up gets %d", row.what, status)
		}
		s.login(t, "anna", "plaintextpassword").contains(t, 200, `"user_id":2`)
	}
}

// TestEdits edits the file in the ways that editors have. The next request sees it.
func TestEdits(t *testing.T) {
	for what, edit := range map[string]func(path, text string) error{
		"truncate and write (VS Code, nano)": func(path, text string) error { return os.WriteFile(path, []byte(text), 0o600) },
		"rename (vim, sed -i)": func(path, text string) error {
			if err := os.WriteFile(path+"~new", []byte(text), 0o644); err != nil {
				return err
			}
			return os.Rename(path+"~new", path)
		},
		"move away and write": func(path, text string) error {
			if err := os.Rename(path, path+"~"); err != nil {
				return err
			}
			return os.WriteFile(path, []byte(text), 0o644)
		},
	} {
		s := newService(t)
		s.signup(t, lessonSignup)
		token := s.token(t, "enrico", "plaintextpassword")
		for i := range 8 {
			var mail string
			for _, letter := range "abc" { // edits of one length
				mail = fmt.Sprintf("enrico%02d%c@example.com", i, letter)
				text := regexp.MustCompile(`enrico\w*@example.com`).ReplaceAllString(readFile(t, s.users), mail)
				if err := edit(s.users, text); err != nil {
					t.Fatal(err)
				}
				s.me(t, token).contains(t, 200, mail)
			}
			if status := s.signUp(t, fmt.Sprintf("user%d", i)); status != 201 {
				t.Fatalf("%s: sign-up after an edit: %d", what, status)
			}
			if text := readFile(t, s.users); !strings.Contains(text, mail) {
				t.Fatalf("%s: a sign-up undid the edit:\n%s", what, text)
			}
		}
		if err := edit(s.users, strings.Replace(readFile(t, s.users), `"is_active":true`, `"is_active":false`, 1)); err != nil {
			t.Fatal(err)
		}
		s.me(t, token).is(t, 401, `{"detail":"Could not validate credentials"}`)
		s.login(t, "enrico", "plaintextpassword").is(t, 401, `{"detail":"Invalid credentials","error":"invalid_grant"}`)
		s.login(t, "user0", "plaintextpassword").contains(t, 200, `"user_id":2`)
	}
}

// TestGone holds that a file which an editor has moved away for a moment is not taken for an empty one.
func TestGone(t *testing.T) {
	s := newService(t)
	s.signup(t, lessonSignup)
	token := s.token(t, "enrico", "plaintextpassword")
	if err := os.Rename(s.users, s.users+"~"); err != nil {
		t.Fatal(err)
	}
	s.me(t, token).contains(t, 200, `"enrico"`)
	if status := s.signUp(t, "anna"); status != 503 {
		t.Errorf("sign-up without a file: %d", status)
	}
	if _, err := os.Stat(s.users); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is back: %v", err)
	}
	if !strings.Contains(s.log.String(), "users.json is gone: put it back, or start again to begin without users") {
		t.Error(s.log)
	}
	if err := os.Mkdir(s.users, 0o700); err != nil {
		t.Fatal(err)
	}
	s.me(t, token).contains(t, 200, `"enrico"`)
	if status := s.signUp(t, "anna"); status != 503 || !strings.Contains(s.log.String(), "users.json is no file, but a folder, a pipe or a device") {
		t.Errorf("sign-up with a folder in the file's place: %d", status)
	}
	if err := errors.Join(os.Remove(s.users), os.Rename(s.users+"~", s.users)); err != nil {
		t.Fatal(err)
	}
	if status := s.signUp(t, "anna"); status != 201 {
		t.Errorf("the file is back, and sign-up gets %d", status)
	}

	// Where there was nobody to forget, a file that is gone again is none.
	s = newService(t)
	if err := os.Mkdir(s.users, 0o700); err != nil {
		t.Fatal(err)
	}
	if status := s.signUp(t, "enrico"); status != 503 {
		t.Errorf("sign-up with a folder in the file's place: %d", status)
	}
	if err := os.Remove(s.users); err != nil {
		t.Fatal(err)
	}
	if status := s.signUp(t, "enrico"); status != 201 {
		t.Errorf("the folder is gone, and sign-up gets %d", status)
	}
}

// TestStamps holds that an edit is seen even if it bears the stamp of what was there before it, as it may on systems that
// stamp files by a ticking clock.
func TestStamps(t *testing.T) {
	s := newService(t)
	s.signup(t, lessonSignup)
	token := s.token(t, "enrico", "plaintextpassword")
	text := readFile(t, s.users)
	counted := 0
	for i := range 20 {
		tick := time.Now()
		edit := func(letter string) {
			writeFile(t, s.users, strings.Replace(text, "enrico@", letter+strconv.Itoa(i%10)+"rico@", 1))
			if err := os.Chtimes(s.users, tick, tick); err != nil {
				t.Fatal(err)
			}
		}
		edit("a")
		first := make(chan error)
		go func() {
			_, err := s.try("GET", "/auth/me", "", "Authorization", "Bearer "+token)
			first <- err
		}()
		await(t, "the middle of the tick", func() bool { return time.Since(tick) > stampGrain/4 })
		edit("b")
		withinTick := time.Since(tick) < stampGrain
		if err := <-first; err != nil {
			t.Fatal(err)
		}
		if withinTick {
			counted++
		}
		if a := s.me(t, token); withinTick && !strings.Contains(a.body, "b"+strconv.Itoa(i%10)+"rico@") {
			t.Fatalf("the second edit of a tick is not seen: %s", a.body)
		}
	}
	if counted == 0 {
		t.Error("the machine is too slow: no second edit came within the tick")
	}
	// And what the program writes bears no stamp that an edit right after it could get.
	s.signUp(t, "anna")
	writeFile(t, s.users+"~", "written right after")
	saved, err := os.Stat(s.users)
	edited, errEdited := os.Stat(s.users + "~")
	if err := errors.Join(err, errEdited); err != nil {
		t.Fatal(err)
	}
	if age := edited.ModTime().Sub(saved.ModTime()); age < stampGrain {
		t.Errorf("a save is stamped %v before what is written after it", age)
	}
}

// TestHandWritten holds that what a person wrote into the file stays: members, order, layout, a byte order mark aside.
func TestHandWritten(t *testing.T) {
	s := newService(t)
	hash := newHash(t, "plaintextpassword", 4)
	const byHand = "[\r\n  {\r\n    \"note\": \"prefers <b>tea</b> \\u00fc 1.0e2\", \"id\": 7,\r\n    \"username\": \"Enrico\", \"email\": \"enrico@example.com\",\r\n" +
		"    \"hashed_password\": \"HASH\", \"is_active\": true, \"tags\": [1.50, {\"a\": null}]\r\n  }"
	image := strings.Replace(byHand, "HASH", hash, 1)
	writeFile(t, s.users, "\ufeff"+image+"\r\n ]\r\n\r\n")
	s.login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":7`)
	s.signup(t, `{"username":"anna","email":"anna@example.com","password":"plaintextpassword"}`).is(t, 201, `{"message":"User created","user_id":8}`)
	if text := readFile(t, s.users); !strings.HasPrefix(text, image+",\n"+`{"id":8,"username":"anna",`) || !strings.HasSuffix(text, "}\n]\n") {
		t.Errorf("the file is\n%s", text)
	}
	s.signUp(t, "carla")
	if text := readFile(t, s.users); !strings.HasPrefix(text, image+",\n") || strings.Count(text, "\n") != strings.Count(image, "\n")+4 {
		t.Errorf("the file is\n%s", text)
	}
	// An id that leaves no next one is a fault to report, not an overflow to commit.
	writeFile(t, s.users, strings.Replace(image, `"id": 7`, `"id": 9223372036854775807`, 1)+"]")
	if status := s.signUp(t, "dora"); status != 503 || !strings.Contains(s.log.String(), "leaves no higher id") {
		t.Errorf("sign-up with no ids left: %d", status)
	}
}

// TestModesAndKinds holds what the path may be, and that the file ends up as its owner's alone.
func TestModesAndKinds(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	mode := func(path string) fs.FileMode {
		t.Helper()
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	for _, umask := range []string{"000", "022", "777"} {
		users := at("umask" + umask)
		for _, existing := range []bool{false, true} {
			if existing {
				if err := os.Chmod(users, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			p := start(t, "-cost", "4", "-users", users, "UMASK="+umask)
			p.signUp(t, fmt.Sprint("user", existing))
			if got := mode(users); got != 0o600 && runtime.GOOS != "windows" {
				t.Errorf("umask %s, existing %v: mode %v", umask, existing, got)
			}
			p.kill()
		}
	}

	// A link is followed and stays, be it relative, in another folder, or to a file that is yet to be made.
	if err := errors.Join(os.Mkdir(at("data"), 0o700), os.Mkdir(at("etc"), 0o700),
		os.Symlink("../data/real.json", at("etc/users.json")), os.Symlink(at("etc/users.json"), at("link"))); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"enrico", "anna"} {
		p := start(t, "-cost", "4", "-users", at("link"))
		for _, signup := range []string{name, name + "2"} {
			if status := p.signUp(t, signup); status != 201 {
				t.Fatal(status, p.log)
			}
		}
		if strings.Count(readFile(t, at("data/real.json")), "\n") != 2*i+4 || mode(at("link"))&fs.ModeSymlink == 0 || mode(at("etc/users.json"))&fs.ModeSymlink == 0 {
			t.Error("the link was replaced")
		}
		p.kill()
	}
	if entries, _ := os.ReadDir(at("etc")); len(entries) != 1 {
		t.Errorf("beside the link: %v", entries)
	}

	// Behind a linked folder, .. is not where the link is: elsewhere/users.json leads to data, not to a folder beside.
	if err := errors.Join(os.Mkdir(at("data/deep"), 0o700), os.Mkdir(at("data/other"), 0o700), os.Symlink("data/deep", at("elsewhere")),
		os.Symlink("../other", at("data/deep/side")), os.Symlink("side/../third.json", at("data/deep/users.json"))); err != nil {
		t.Fatal(err)
	}
	p := start(t, "-cost", "4", "-users", at("elsewhere/users.json"))
	if status := p.signUp(t, "enrico"); status != 201 || !strings.Contains(readFile(t, at("data/third.json")), "enrico") {
		t.Errorf("a link with .. in a linked folder: %d\n%s", status, p.log)
	}
	p.kill()
	if err := errors.Join(os.RemoveAll(at("data/deep")), os.Remove(at("data/other")), os.Remove(at("data/third.json"))); err != nil {
		t.Fatal(err)
	}

	// What a killed program left behind goes; what only looks like it stays.
	writeFile(t, at("data/.real.json.tmp123"), "x")
	writeFile(t, at("data/.real.json.tmpl"), "x")
	writeFile(t, at("data/.real.json.tmp"), "x")
	start(t, "-users", at("link"))
	if entries, _ := os.ReadDir(at("data")); len(entries) != 3 || entries[0].Name() != ".real.json.tmp" || entries[1].Name() != ".real.json.tmpl" {
		t.Errorf("left in the folder: %v", entries)
	}

	// What can't be a users file is refused at once, in one line.
	if err := errors.Join(os.Symlink("self", at("self")), exec.Command("mkfifo", at("pipe")).Run()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:              dir + " is no file, but a folder, a pipe or a device",
		at("pipe"):       at("pipe") + " is no file, but a folder, a pipe or a device",
		"/dev/null":      "/dev/null is no file, but a folder, a pipe or a device",
		at("self"):       "too many levels of symbolic links",
		at("no/u.json"):  "the folder of the users file can't be read; make it first: open " + at("no") + ": no such file or directory",
		at("link/u.jso"): "not a directory",
	} {
		p := launch(t, "-users", path)
		if status := p.exit(t); status != 1 || !strings.Contains(p.log.String(), want) || strings.Count(p.log.String(), "\n") != 1 {
			t.Errorf("%s: exit status %d, %s", path, status, p.log)
		}
	}
}

// TestTwoPrograms runs two programs on one file, against all advice: whatever is lost, the file is whole at any moment.
func TestTwoPrograms(t *testing.T) {
	a := start(t, "-cost", "4")
	b := start(t, "-cost", "4", "-users", a.users)
	a.signUp(t, "enrico")
	stop := make(chan struct{})
	var reader, clients sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if text, err := os.ReadFile(a.users); err != nil || !json.Valid(text) {
				t.Errorf("the file is broken: %v\n%s", err, text)
				return
			}
		}
	})
	for i, p := range []*program{a, b} {
		clients.Go(func() {
			for n := range 30 {
				if status := p.signUp(t, fmt.Sprintf("user%d-%d", i, n)); status != 201 && status != 503 {
					t.Errorf("sign-up: %d", status)
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	reader.Wait()
	a.kill()
	b.kill()
	start(t, "-users", a.users, "-cost", "4").login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
}

// TestFullDisk fills a small disk, and makes it read-only. It needs root to mount one.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir)
	p := start(t, "-cost", "4", "-users", filepath.Join(dir, "users.json"))
	p.signUp(t, "enrico")
	before := readFile(t, p.users)
	filler := filepath.Join(dir, "filler")
	refused := func(what, reason string) {
		t.Helper()
		p.signup(t, `{"username":"anna","email":"anna@example.com","password":"plaintextpassword"}`).
			is(t, 503, `{"detail":"Users cannot be stored just now"}`).header(t, "Retry-After", "5")
		if got := readFile(t, p.users); got != before {
			t.Errorf("%s: the file has changed:\n%s", what, got)
		}
		if entries, _ := os.ReadDir(dir); slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.Contains(e.Name(), "tmp") }) {
			t.Errorf("%s: a temporary file stays: %v", what, entries)
		}
		if !p.log.await(reason) {
			t.Errorf("%s: the log says\n%s", what, p.log)
		}
		p.login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
		p.login(t, "anna", "plaintextpassword").contains(t, 401, `"Invalid credentials"`)
	}
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, io.LimitReader(rand.Reader, 1<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk isn't full: %v", err)
	}
	f.Close()
	refused("full", "no space left on device")
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if status := p.signUp(t, "berta"); status != 201 {
		t.Errorf("with room again: %d", status)
	}
	before = readFile(t, p.users)
	remount := func(how string) {
		if out, err := exec.Command("mount", "-o", "remount,"+how, dir).CombinedOutput(); err != nil {
			t.Fatal(err, string(out))
		}
	}
	remount("ro")
	refused("read-only", "read-only file system")
	remount("rw")
	if status := p.signUp(t, "carla"); status != 201 {
		t.Errorf("writable again: %d", status)
	}
}

// TestMountedFile mounts the file itself, as one does with containers: it can't be renamed over, and the log says what to
// do. It needs root.
func TestMountedFile(t *testing.T) {
	s := newService(t)
	s.signUp(t, "enrico")
	before := readFile(t, s.users)
	mount(t, "--bind", s.users, s.users)
	if status := s.signUp(t, "anna"); status != 503 || readFile(t, s.users) != before {
		t.Errorf("sign-up: %d, and the file is\n%s", status, readFile(t, s.users))
	}
	if !strings.Contains(s.log.String(), "device or resource busy: if the file itself is mounted into a container, mount its folder instead") {
		t.Error(s.log)
	}
	s.login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
	if entries, _ := os.ReadDir(filepath.Dir(s.users)); len(entries) != 1 {
		t.Errorf("a temporary file stays: %v", entries)
	}
}

// TestFolderRemoved takes the folder away, and brings it back.
func TestFolderRemoved(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	p := start(t, "-cost", "4", "-users", filepath.Join(folder, "users.json"))
	p.signUp(t, "enrico")
	if err := os.Rename(folder, folder+"~"); err != nil {
		t.Fatal(err)
	}
	if status := p.signUp(t, "anna"); status != 503 {
		t.Errorf("sign-up without a folder: %d", status)
	}
	p.login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
	if err := os.Rename(folder+"~", folder); err != nil {
		t.Fatal(err)
	}
	if status := p.signUp(t, "anna"); status != 201 {
		t.Errorf("the folder is back, and sign-up gets %d:\n%s", status, p.log)
	}
}

// TestFailingDisk makes system calls of the running program fail, or take long, with strace.
func TestFailingDisk(t *testing.T) {
	p := start(t, "-cost", "4")
	folder := filepath.Dir(p.users)
	stop := strace(t, p, "-o", "/dev/null", "-P", folder, "-e", "inject=fsync:error=EIO")
	if status := p.signUp(t, "enrico"); status != 503 {
		t.Errorf("the first sign-up on a failing disk: %d", status)
	}
	stop()
	if entries, _ := os.ReadDir(folder); len(entries) != 0 {
		t.Errorf("the first sign-up failed and left %v", entries)
	}
	p.signUp(t, "enrico")
	token := p.token(t, "enrico", "plaintextpassword")

	calls := filepath.Join(t.TempDir(), "calls")
	stop = strace(t, p, "-y", "-o", calls, "-e", "trace=fsync,/^rename")
	p.signUp(t, "alma")
	stop()
	order := regexp.MustCompile(`(?s)fsync\(\d+<` + folder + `/\.users\.json\.tmp\d+>\).*rename.*/users\.json".*fsync\(\d+<` + folder + `>\)`)
	if text := readFile(t, calls); !order.MatchString(text) {
		t.Errorf("a save is not: sync the file, rename it, sync the folder:\n%s", text)
	}

	for _, row := range []struct {
		what, reason string
		rules        []string
	}{
		{"fsync of the file fails", "input/output error", []string{"-e", "inject=fsync:error=EIO"}},
		{"fsync of the folder fails", "input/output error", []string{"-P", folder, "-e", "inject=fsync:error=EIO"}},
		{"rename fails", "permission denied", []string{"-e", "inject=/^rename:error=EACCES"}},
	} {
		before := readFile(t, p.users)
		stop := strace(t, p, append(row.rules, "-o", "/dev/null")...)
		if status := p.signUp(t, "anna"); status != 503 || readFile(t, p.users) != before {
			t.Errorf("%s: sign-up gets %d, and the file is\n%s", row.what, status, readFile(t, p.users))
		}
		p.me(t, token).contains(t, 200, `"enrico"`)
		p.login(t, "anna", "plaintextpassword").contains(t, 401, `"Invalid credentials"`)
		stop()
		if !p.log.await(row.reason) {
			t.Errorf("%s: the log says\n%s", row.what, p.log)
		}
		if entries, _ := os.ReadDir(folder); len(entries) != 1 {
			t.Errorf("%s: a temporary file stays: %v", row.what, entries)
		}
		if status := p.signUp(t, "after"+strconv.Itoa(len(row.what))); status != 201 {
			t.Errorf("%s: afterwards sign-up gets %d", row.what, status)
		}
	}

	// What Windows does for a moment when somebody has the file open: the first rename of each thread is refused.
	stop = strace(t, p, "-o", "/dev/null", "-e", "inject=/^rename:error=EACCES:when=1")
	if status := p.signUp(t, "berta"); status != 201 {
		t.Errorf("a rename that is refused once: %d\n%s", status, p.log)
	}
	stop()

	// While the disk takes its time, nobody but the sign-up waits for it, and an edit made meanwhile is not lost.
	stop = strace(t, p, "-o", "/dev/null", "-e", "inject=fsync:delay_enter=1000000")
	signedUp := make(chan int)
	go func() { signedUp <- p.signUp(t, "carla") }()
	await(t, "a temporary file", func() bool {
		found, _ := filepath.Glob(filepath.Join(folder, ".users.json.tmp*"))
		return len(found) > 0
	})
	for _, moment := range []string{"the file is synced", "it is renamed, and the folder is synced"} {
		for range 3 {
			p.me(t, token).contains(t, 200, `"enrico@example.com"`)
			p.login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
		}
		p.login(t, "carla", "plaintextpassword").contains(t, 401, `"Invalid credentials"`) // not durable, not there
		select {
		case status := <-signedUp:
			t.Fatalf("while %s, the sign-up did not wait for the disk, or others waited with it: %d", moment, status)
		default:
		}
		await(t, "the rename", func() bool { return strings.Contains(readFile(t, p.users), "carla") })
	}
	if status := <-signedUp; status != 201 {
		t.Errorf("a sign-up on a slow disk: %d\n%s", status, p.log)
	}
	stop()

	// An edit made in that time is not lost: neither before the last look at the file, nor between that and the rename.
	for call, names := range map[string]int{"fsync": 2, "/^rename": 3} { // names in the folder at that moment
		stop := strace(t, p, "-o", "/dev/null", "-e", "inject="+call+":delay_enter=500000")
		name, mail := "dora"+strconv.Itoa(names), "edited"+strconv.Itoa(names)+"@example.com"
		go func() { signedUp <- p.signUp(t, name) }()
		await(t, call, func() bool {
			entries, _ := os.ReadDir(folder)
			return len(entries) == names
		})
		for range 3 {
			p.me(t, token).contains(t, 200, `"enrico"`) // which takes it past the last look
		}
		writeFile(t, p.users, regexp.MustCompile(`\w+@example.com","hash`).ReplaceAllLiteralString(readFile(t, p.users), mail+`","hash`))
		status := 0
		await(t, "the sign-up", func() bool {
			if text := readFile(t, p.users); call == "fsync" && !strings.Contains(text, mail) {
				t.Fatalf("an edit is gone for a while:\n%s", text)
			}
			select {
			case status = <-signedUp:
			default:
			}
			return status != 0
		})
		if status != 201 {
			t.Errorf("a sign-up beside an edit: %d\n%s", status, p.log)
		}
		stop()
		if text := readFile(t, p.users); !strings.Contains(text, mail) || !strings.Contains(text, name) {
			t.Errorf("%s: the edit or the sign-up is lost:\n%s", call, text)
		}
		p.me(t, token).contains(t, 200, mail)
	}
}

// ---------------------------------------------------------------------------------------------------------------------
// The program

// TestUsage holds that what is wrong with the flags or the environment is said in one line, with exit status 2.
func TestUsage(t *testing.T) {
	for _, row := range []struct {
		args   []string
		secret string
		want   string
	}{
		{[]string{"-nosuch"}, "", "flag provided but not defined: -nosuch"},
		{[]string{"serve"}, "", "unexpected argument \"serve\": there are flags only"},
		{[]string{"-cost", "3"}, "", "-cost must be 4 to 16"},
		{[]string{"-cost", "17"}, "", "-cost must be 4 to 16"},
		{[]string{"-cost", "x"}, "", "invalid value"},
		{[]string{"-addr", "8000"}, "", "-addr must be host:port, such as 127.0.0.1:8000"},
		{[]string{"-users", ""}, "", "-users must name a file"},
		{[]string{"-token-ttl", "0"}, "", "-token-ttl must be 1s or more"},
		{[]string{"-token-ttl", "-1h"}, "", "-token-ttl must be 1s or more"},
		{[]string{"-tls-cert", "cert.pem"}, "", "-tls-cert and -tls-key go together"},
		{[]string{"-tls-key", "key.pem"}, "", "-tls-cert and -tls-key go together"},
		{nil, strings.Repeat("s", 31), "AUTH_SECRET must have at least 32 bytes"},
	} {
		var stderr bytes.Buffer
		status := run(t.Context(), row.args, func(string) string { return row.secret }, &stderr)
		if status != 2 || !strings.HasPrefix(stderr.String(), "authflow: "+row.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%q: exit status %d, %s", row.args, status, &stderr)
		}
		if row.secret != "" && strings.Contains(stderr.String(), row.secret) {
			t.Errorf("the secret is shown: %s", &stderr)
		}
	}
	p := launch(t, "-cost", "3")
	if status := p.exit(t); status != 2 {
		t.Errorf("exit status of the process %d, want 2", status)
	}
}

// TestCannotServe holds that what keeps the program from serving is said in one line, with exit status 1.
func TestCannotServe(t *testing.T) {
	p := start(t)
	busy := strings.TrimPrefix(p.url, "http://")
	writeFile(t, filepath.Join(filepath.Dir(p.users), ".users.json.tmp1"), "a save of the program that runs")
	second := launch(t, "-addr", busy, "-users", p.users)
	if status := second.exit(t); status != 1 || strings.Count(second.log.String(), "\n") != 1 ||
		!strings.HasPrefix(second.log.String(), "authflow: listen tcp "+busy+": bind: address already in use: choose another address with -addr") {
		t.Errorf("a busy port: exit status %d, %s", status, second.log)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(p.users), ".users.json.tmp1")); err != nil {
		t.Errorf("the second program touched the first one's file: %v", err)
	}
	p = launch(t, "-tls-cert", "nosuch.pem", "-tls-key", "nosuch.pem")
	if status := p.exit(t); status != 1 || p.log.String() != "authflow: -tls-cert or -tls-key: open nosuch.pem: no such file or directory\n" {
		t.Errorf("no certificate: exit status %d, %s", status, p.log)
	}
}

// TestWarnings holds what the program says at its start, and that it says nothing more.
func TestWarnings(t *testing.T) {
	const noSecret, lowCost, inTheClear, readable = "AUTH_SECRET is not set", "hashed too fast", "in the clear", "chmod 600"
	users := filepath.Join(t.TempDir(), "users.json")
	writeFile(t, users, readFile(t, "users.json.example"))
	if err := os.Chmod(users, 0o640); err != nil {
		t.Fatal(err)
	}
	secret := "AUTH_SECRET=" + strings.Repeat("s", 32)
	for _, row := range []struct {
		flags []string
		want  []string
	}{
		{[]string{secret}, nil},
		{nil, []string{noSecret}},
		{[]string{secret, "-cost", "9"}, []string{lowCost}},
		{[]string{secret, "-cost", "10"}, nil},
		{[]string{secret, "-addr", "[::1]:0"}, nil},
		{[]string{secret, "-addr", "localhost:0"}, nil},
		{[]string{secret, "-addr", ":0"}, []string{inTheClear}},
		{[]string{secret, "-users", users}, []string{readable}},
	} {
		p := start(t, row.flags...)
		text := p.log.String()
		if strings.Count(text, "level=WARN") != len(row.want) || strings.Count(text, "\n") != len(row.want)+1 {
			t.Errorf("%q: %s", row.flags, text)
		}
		for _, want := range row.want {
			if !strings.Contains(text, want) {
				t.Errorf("%q: no %q in %s", row.flags, want, text)
			}
		}
	}
}

// TestStop holds that both signals let a log-in finish that has begun, and that run ends with its context.
func TestStop(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users.json")
	writeFile(t, users, readFile(t, "users.json.example"))
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		p := start(t, "-v", "-users", users)
		answered := make(chan answer)
		go func() {
			a, _ := p.try("POST", "/auth/login", "username=enrico&password=plaintextpassword", "Content-Type", "application/x-www-form-urlencoded")
			answered <- a
		}()
		if !p.log.await("looked up the user") { // and from here on it hashes, at cost 12
			t.Fatal(p.log)
		}
		if err := p.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		(<-answered).contains(t, 200, `"Login successful"`)
		if status := p.exit(t); status != 0 {
			t.Errorf("%v: exit status %d, %s", sig, status, p.log)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	log := &output{}
	status := make(chan int)
	go func() {
		status <- run(ctx, []string{"-addr", "127.0.0.1:0", "-users", users}, noEnvironment, log)
	}()
	if !log.await("msg=listening") {
		t.Fatal(log)
	}
	if got := runtime.GOMAXPROCS(0); got != processors+1 {
		t.Errorf("the scheduler has %d P, want one more than the %d slots", got, processors)
	}
	cancel()
	if status := <-status; status != 0 {
		t.Errorf("run returned %d: %s", status, log)
	}
}

// TestTLS serves HTTPS with a certificate made here.
func TestTLS(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	writeFile(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	writeFile(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	p := start(t, "-cost", "4", "-tls-cert", certFile, "-tls-key", keyFile)
	if !strings.HasPrefix(p.url, "https://127.0.0.1:") {
		t.Errorf("it listens at %s", p.url)
	}
	p.signup(t, lessonSignup).is(t, 201, `{"message":"User created","user_id":1}`)
	p.me(t, p.token(t, "enrico", "plaintextpassword")).contains(t, 200, `"enrico"`)
	p.signup(t, strings.Repeat(" ", maxBody+1)).is(t, 413, `{"detail":"Body must be at most 65536 bytes"}`)
	p.kill()
	if strings.Contains(p.log.String(), "in the clear") {
		t.Error(p.log)
	}
}

// TestLog holds that a request is one line, without secrets, and that nothing a client sends can forge or flood lines.
func TestLog(t *testing.T) {
	s := newService(t)
	s.signup(t, lessonSignup)
	token := s.token(t, "enrico", "plaintextpassword")
	s.login(t, "enrico", "wrong-password")
	s.login(t, "plaintextpassword", "typed the password as the name")
	s.me(t, token)
	s.me(t, token+"x")
	s.do(t, "GET", "/auth/me?access_token="+token+"&password=plaintextpassword", "", "Authorization", "Bearer "+token)
	for _, path := range []string{"/", "/docs", "/openapi.json", "/healthz", "/nosuch"} {
		s.do(t, "GET", path, "")
	}
	lines := strings.Count(s.log.String(), "msg=request")
	for _, request := range []string{
		"GET /%0d%0atime=forged%20level=INFO",
		"GET /\x1b[2J", // the standard library refuses control characters and logs nothing
		"GET /\u202egnp.exe",
		"GET /%1b%5b2J%e2%80%ae",
		"GET /" + strings.Repeat("x", 8000),
		strings.Repeat("X", 8000) + " /",
		"GET /\xff\xfe",
	} {
		s.raw(t, request, "")
	}
	text := s.log.String()
	hash := regexp.MustCompile(`\$2a\$[^"]+`).FindString(readFile(t, s.users))
	for _, secret := range []string{"plaintextpassword", "wrong-password", "typed+the", "typed the", token, strings.Split(token, ".")[2], hash, hash[29:], "the key", "access_token"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the log:\n%s", secret, text)
		}
	}
	if strings.Contains(text, "status=0") {
		t.Errorf("a status is missing:\n%s", text)
	}
	if got := strings.Count(text, "msg=request") - lines; got != 6 {
		t.Errorf("six requests made %d lines", got)
	}
	for line := range strings.Lines(text) {
		if !regexp.MustCompile(`^time=\S+ level=(DEBUG|INFO) msg=[ -~µ]+\n$`).MatchString(line) || len(line) > 2000 {
			t.Errorf("not a plain line: %q", line)
		}
	}
	if !regexp.MustCompile(`level=INFO msg=request method=POST path=/auth/login status=200 took=\S+ addr=127\.0\.0\.1:\d+\n`).MatchString(text) {
		t.Error(text)
	}
}

// TestSteps holds that -v, and only -v, tells the steps of the flow.
func TestSteps(t *testing.T) {
	flow := func(flags ...string) string {
		p := start(t, append(flags, "-cost", "4")...)
		p.signup(t, lessonSignup)
		p.me(t, p.token(t, "enrico", "plaintextpassword"))
		p.kill()
		_, text, _ := strings.Cut(p.log.String(), "msg=listening")
		return text
	}
	if text := flow(); strings.Count(text, "\n") != 4 || strings.Contains(text, "DEBUG") {
		t.Errorf("without -v:\n%s", text)
	}
	steps := regexp.MustCompile("(?s)" + strings.Join([]string{
		`level=DEBUG msg="hashed with bcrypt" cost=4 took=\S+s\n`,
		`level=DEBUG msg="saved the users file" bytes=160 took=\S+s\n`,
		`level=INFO msg=request method=POST path=/auth/signup status=201 `,
		`level=DEBUG msg="looked up the user" known=true user_id=1 took=\S+s\n`,
		`level=DEBUG msg="compared with bcrypt" cost=4 rounds=16 took=\S+s\n`,
		`level=DEBUG msg="signed a token" user_id=1 expires_in=1h0m0s\n`,
		`level=INFO msg=request method=POST path=/auth/login status=200 `,
		`level=DEBUG msg="checked the token" user_id=1\n`,
		`level=INFO msg=request method=GET path=/auth/me status=200 `,
	}, ".*"))
	if text := flow("-v"); !steps.MatchString(text) {
		t.Errorf("with -v:\n%s", text)
	}
}

// TestDependencies holds that the program is built from the standard library and bcrypt alone.
func TestDependencies(t *testing.T) {
	need(t, "go")
	out, err := exec.Command("go", "list", "-deps", "-test", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").CombinedOutput()
	if err != nil {
		t.Fatal(err, string(out))
	}
	for path := range strings.FieldsSeq(string(out)) {
		switch path {
		case "authflow", "[authflow.test]", "authflow.test", "golang.org/x/crypto/bcrypt", "golang.org/x/crypto/blowfish":
		default:
			t.Errorf("depends on %s", path)
		}
	}
}

// TestExample holds users.json.example to what the README says of it.
func TestExample(t *testing.T) {
	s := newService(t)
	writeFile(t, s.users, readFile(t, "users.json.example"))
	s.me(t, s.token(t, "enrico", "plaintextpassword")).is(t, 200, `{"id":1,"username":"enrico","email":"enrico@example.com","is_active":true}`)
	s.login(t, "anna", "plaintextpassword").is(t, 401, `{"detail":"Invalid credentials","error":"invalid_grant"}`)
	writeFile(t, s.users, strings.Replace(readFile(t, s.users), `"is_active":false`, `"is_active":true`, 1))
	s.login(t, "anna", "plaintextpassword").contains(t, 200, `"user_id":2`)
}

// ---------------------------------------------------------------------------------------------------------------------
// Load and attack

// TestSlots takes all slots and holds that requests wait for one in a line of limited length and time, that who hangs up
// leaves it, and that nobody else has to wait.
func TestSlots(t *testing.T) {
	s := newService(t)
	if cap(s.server.slots) != processors {
		t.Errorf("%d slots for %d processors", cap(s.server.slots), processors)
	}
	s.signup(t, lessonSignup)
	token := s.token(t, "enrico", "plaintextpassword")
	for range processors {
		s.server.slots <- struct{}{}
	}
	ctx, hangUp := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range cap(s.server.waiting) {
		clients.Go(func() {
			r, _ := http.NewRequestWithContext(ctx, "POST", s.url+"/auth/login", strings.NewReader("username=enrico&password=wrong"))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if resp, err := client.Do(r); err == nil {
				t.Errorf("a client in line got %d", resp.StatusCode)
				resp.Body.Close()
			}
		})
	}
	await(t, "a full line", func() bool { return len(s.server.waiting) == cap(s.server.waiting) })
	s.login(t, "enrico", "plaintextpassword").is(t, 503, `{"detail":"Too busy just now","error":"temporarily_unavailable"}`).header(t, "Retry-After", "5")
	s.signup(t, `{"username":"anna","email":"a@b","password":"plaintextpassword"}`).is(t, 503, `{"detail":"Too busy just now"}`).header(t, "Retry-After", "5")
	s.me(t, token).contains(t, 200, `"enrico"`)
	s.do(t, "GET", "/healthz", "").is(t, 200, `{"status":"ok"}`)
	if strings.Contains(readFile(t, s.users), "anna") {
		t.Error("half a sign-up")
	}
	hangUp()
	clients.Wait()
	await(t, "an empty line", func() bool { return len(s.server.waiting) == 0 })
	for range processors {
		<-s.server.slots
	}
	s.login(t, "enrico", "plaintextpassword").contains(t, 200, `"Login successful"`) // those above are no failures of enrico's
}

// TestLongWait holds that who has waited for a slot long enough is told so.
func TestLongWait(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for range processors {
		s.server.slots <- struct{}{}
	}
	s.login(t, "enrico", "plaintextpassword").is(t, 503, `{"detail":"Too busy just now","error":"temporarily_unavailable"}`).header(t, "Retry-After", "5")
}

// TestThrottle counts failures by account and address, and holds that nothing gets around it.
func TestThrottle(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := newService(t, func(s *server) { s.now = func() time.Time { return now } })
	s.signup(t, lessonSignup)
	const wrong = `{"detail":"Invalid credentials","error":"invalid_grant"}`
	const throttled = `{"detail":"Too many failed log-ins","error":"temporarily_unavailable"}`
	// form logs in from an address, with a body as it goes over the wire.
	form := func(addr, body string, headers ...string) answer {
		t.Helper()
		r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(body))
		r.RemoteAddr = addr
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		return answer{w.Code, w.Header(), w.Body.String()}
	}
	const home, away = "192.0.2.1:1111", "192.0.2.2:1111"
	spellings := []string{"enrico", "Enrico", "ENRICO", "%65nrico", "enric%4F"}
	for i := range 10 {
		form(home, "password=wrong&username="+spellings[i%5]).is(t, 401, wrong)
	}
	for _, name := range spellings {
		form("192.0.2.1:2222", "password=wrong&username="+name).is(t, 429, throttled).header(t, "Retry-After", "60")
		form(home, "password=plaintextpassword&username="+name).is(t, 429, throttled).header(t, "Cache-Control", "no-store")
	}
	form(home, "username=enrico&password=plaintextpassword", "X-Forwarded-For", "192.0.2.9", "Forwarded", "for=192.0.2.9", "X-Real-IP", "192.0.2.9").is(t, 429, throttled)
	form("[::ffff:192.0.2.1]:1", "username=enrico&password=plaintextpassword").is(t, 429, throttled)
	form(home, "username=anna&password=wrong").is(t, 401, wrong)                                    // another account
	form(away, "username=enrico&password=plaintextpassword").contains(t, 200, `"Login successful"`) // from elsewhere
	form(home, "username=enrico&password=plaintextpassword").is(t, 429, throttled)                  // which clears nothing here

	now = now.Add(59*time.Second + time.Millisecond)
	form(home, "username=enrico&password=plaintextpassword").is(t, 429, throttled).header(t, "Retry-After", "1")
	now = now.Add(999 * time.Millisecond)
	form(home, "username=enrico&password=wrong").is(t, 401, wrong) // one try a minute
	form(home, "username=enrico&password=plaintextpassword").is(t, 429, throttled).header(t, "Retry-After", "60")
	now = now.Add(time.Minute)
	form(home, "username=enrico&password=plaintextpassword").contains(t, 200, `"Login successful"`)
	for range 3 { // cleared: a few failures between successes never add up
		for range 9 {
			form(home, "username=enrico&password=wrong").is(t, 401, wrong)
		}
		form(home, "username=enrico&password=plaintextpassword").contains(t, 200, `"Login successful"`)
	}

	// An account that isn't there counts alike, so does a disabled one, and one /64 is one address.
	for i := range 10 {
		form(fmt.Sprintf("[2001:db8:1:2:%x::1]:1", i+1), "username=nobody&password=wrong").is(t, 401, wrong)
	}
	form("[2001:db8:1:2:ffff::9]:1", "username=nobody&password=wrong").is(t, 429, throttled)
	form("[2001:db8:1:3::1]:1", "username=nobody&password=wrong").is(t, 401, wrong)
	for range 10 { // a malformed request is no failure
		form(away, "username=carla").faults(t, "no password", "missing body.password")
	}
	form(away, "username=carla&password=wrong").is(t, 401, wrong)
}

// TestThrottleBeside holds that tries at the same time get no more answers than tries one by one, and that clients which
// know the password don't get in each other's way.
func TestThrottleBeside(t *testing.T) {
	s := newService(t)
	s.signup(t, lessonSignup)
	count := func(password string) map[int]int {
		var mu sync.Mutex
		statuses := map[int]int{}
		var clients sync.WaitGroup
		for range 40 {
			clients.Go(func() {
				a := s.login(t, "enrico", password)
				mu.Lock()
				statuses[a.status]++
				mu.Unlock()
			})
		}
		clients.Wait()
		return statuses
	}
	if got := count("plaintextpassword"); got[200] != 40 {
		t.Errorf("40 right at once: %v", got)
	}
	if got := count("wrong"); got[401] != 10 || got[429] != 30 {
		t.Errorf("40 wrong at once: %v", got)
	}
	if got := count("plaintextpassword"); got[429] != 40 {
		t.Errorf("40 right while throttled: %v", got)
	}
}

// TestThrottleMemory holds that new names from new addresses push out the oldest, and not what is being attacked now.
func TestThrottleMemory(t *testing.T) {
	s := newService(t)
	now := time.Unix(1_800_000_000, 0)
	first, attacked := pairOf("first", "192.0.2.1:1"), pairOf("enrico", "192.0.2.1:1")
	s.server.throttle.settle(first, false, now)
	for i := range 10_500 {
		now = now.Add(time.Second)
		s.server.throttle.settle(pairOf(strings.Repeat("x", 1000)+strconv.Itoa(i), fmt.Sprintf("10.%d.%d.%d:1", i>>16, i>>8&255, i&255)), false, now)
		if i%1000 == 0 {
			s.server.throttle.settle(attacked, false, now)
		}
	}
	if len(s.server.throttle.failed) != 10_000 {
		t.Errorf("%d pairs are remembered", len(s.server.throttle.failed))
	}
	if s.server.throttle.failed[attacked].inARow != 11 || s.server.throttle.failed[first].inARow != 0 {
		t.Error("the wrong pair was forgotten")
	}
}

// TestSlowClients holds that half-open connections cost others nothing, and that who drips is cut off.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	p := start(t, "-cost", "4")
	dial := func(text string) net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		io.WriteString(conn, text)
		return conn
	}
	for range 300 {
		dial("POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\nuser")
	}
	p.do(t, "GET", "/healthz", "").is(t, 200, `{"status":"ok"}`)
	var clients sync.WaitGroup
	for _, text := range []string{
		"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Drip: ",
		"POST /auth/signup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n",
		"POST /auth/signup HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n", // answered 415 before the body has come
	} {
		conn := dial(text)
		clients.Go(func() {
			conn.SetDeadline(time.Now().Add(25 * time.Second))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) { // and not by the service
					t.Errorf("%.20q was let drip", text)
				}
			}()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ended:
					return
				case <-tick.C:
					io.WriteString(conn, "x")
				}
			}
		})
	}
	clients.Wait()
	s := newService(t)
	if a := s.raw(t, "GET /healthz\r\nX-Large: "+strings.Repeat("x", 32<<10), ""); a.status != 431 {
		t.Errorf("32 KiB of headers: %d", a.status)
	}
}

// ---------------------------------------------------------------------------------------------------------------------
// The documents

// TestManual holds that authflow -h, the package comment and the README say the same.
func TestManual(t *testing.T) {
	var manual bytes.Buffer
	if status := run(t.Context(), []string{"-h"}, noEnvironment, &manual); status != 0 {
		t.Errorf("exit status %d", status)
	}
	comment, _, _ := strings.Cut(readFile(t, "main.go"), "\npackage main\n")
	words := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for name, text := range map[string]string{"package comment": strings.ReplaceAll(comment, "\n//", "\n"), "README.md": readFile(t, "README.md")} {
		if !strings.Contains(words(text), words(manual.String())) {
			t.Errorf("the %s does not say what -h says:\n%s", name, &manual)
		}
	}
	for _, promise := range []string{"-addr", "-users", "-cost", "-token-ttl", "-tls-cert", "-tls-key", "-v", "AUTH_SECRET", "127.0.0.1:8000", "users.json", "12", "1h0m0s"} {
		if !strings.Contains(manual.String(), promise) {
			t.Errorf("-h says nothing of %s", promise)
		}
	}
}

// TestREADME runs the shell blocks of the README against the program, in one shell, as a student would paste them. A line
// that begins with # is what the command before it prints; tokens may differ. What -v logs meanwhile is in the README too.
func TestREADME(t *testing.T) {
	need(t, "curl")
	p := start(t, "-v")
	var script strings.Builder
	var want []string
	readme := readFile(t, "README.md")
	for _, block := range regexp.MustCompile("(?s)\n```sh\n(.*?)```").FindAllStringSubmatch(readme, -1) {
		for line := range strings.Lines(block[1]) {
			if output, ok := strings.CutPrefix(line, "# "); ok {
				want = append(want, strings.TrimSpace(output))
				line = "echo '===='\n"
			}
			script.WriteString(line)
		}
	}
	shell := exec.Command("bash", "-c", strings.ReplaceAll(script.String(), "http://127.0.0.1:8000", p.url))
	shell.Dir = filepath.Dir(p.users)
	out, err := shell.Output()
	if err != nil {
		t.Fatal(err)
	}
	mask := func(text string, volatile ...string) string {
		return strings.TrimSpace(regexp.MustCompile(strings.Join(volatile, "|")).ReplaceAllString(text, "…"))
	}
	got := strings.Split(string(out), "====\n")
	if len(want) < 5 || len(got) != len(want)+1 {
		t.Fatalf("%d outputs for %d expectations:\n%s", len(got)-1, len(want), out)
	}
	for i := range want {
		const token = `eyJ[\w-]+\.[\w-]+\.[\w-]+`
		if mask(got[i], token) != mask(want[i], token) {
			t.Errorf("output %d of the README:\n got %s\nwant %s", i+1, got[i], want[i])
		}
	}
	p.kill() // so that all it logged is here
	steps := regexp.MustCompile("(?s)\n```text\n(.*?)```").FindStringSubmatch(readme)[1]
	_, log, _ := strings.Cut(p.log.String(), "msg=listening")
	_, log, _ = strings.Cut(log, "\n")
	volatile := []string{`time=\S+ `, `took=\S+`, `addr=\S+`}
	if log = strings.ReplaceAll(mask(log, volatile...), "\n…", "\n"); !strings.HasPrefix(strings.TrimPrefix(log, "…"), mask(steps, volatile...)) {
		t.Errorf("-v logs\n%s\nand the README has\n%s", log, mask(steps, volatile...))
	}
}

// TestOpenAPI holds the OpenAPI document to the routes and to real answers.
func TestOpenAPI(t *testing.T) {
	s := newService(t)
	a := s.do(t, "GET", "/openapi.json", "")
	var doc map[string]any
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil {
		t.Fatal(err)
	}
	a.header(t, "Content-Type", "application/json")
	documented := map[string]bool{}
	for path, methods := range doc["paths"].(map[string]any) {
		for method := range methods.(map[string]any) {
			method = strings.ToUpper(method)
			documented[method+" "+path] = true
			r := httptest.NewRequest(method, path, nil)
			if _, pattern := s.server.mux.Handler(r); pattern != method+" "+strings.Replace(path, "/{$}", "/", 1) && pattern != method+" "+path+"{$}" {
				t.Errorf("%s %s is documented, and routed as %q", method, path, pattern)
			}
		}
	}
	for _, line := range regexp.MustCompile(`mux\.Handle(?:Func)?\("(\w+) ([^"]*)"`).FindAllStringSubmatch(readFile(t, "main.go"), -1) {
		path := strings.TrimSuffix(line[2], "{$}")
		if line[2] == "" { // "POST "+loginPath
			path = loginPath
		}
		if !documented[line[1]+" "+path] {
			t.Errorf("%s %s is not documented", line[1], path)
		}
	}

	// resolve follows a $ref; what stands beside one goes along.
	resolve := func(node any) map[string]any {
		object, _ := node.(map[string]any)
		for ref, ok := object["$ref"].(string); ok; ref, ok = object["$ref"].(string) {
			target := any(doc)
			for key := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
				target = target.(map[string]any)[key]
			}
			if target == nil {
				t.Fatalf("%s leads nowhere", ref)
			}
			object = target.(map[string]any)
		}
		return object
	}
	// fits says where a value doesn't fit a schema, as far as the document uses them, and where it has more than that.
	var fits func(value, schema any, where string) []string
	fits = func(value, schemaNode any, where string) (wrong []string) {
		schema := resolve(schemaNode)
		if all, ok := schema["allOf"].([]any); ok {
			for _, one := range all {
				wrong = append(wrong, fits(value, one, where)...)
			}
			return wrong
		}
		if c, ok := schema["const"]; ok && c != value {
			wrong = append(wrong, fmt.Sprintf("%s is %v, not %v", where, value, c))
		}
		if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, value) {
			wrong = append(wrong, fmt.Sprintf("%s is %v, not of %v", where, value, enum))
		}
		kind := map[string]string{"string": "string", "float64": "integer", "bool": "boolean", "[]interface {}": "array", "map[string]interface {}": "object"}[fmt.Sprintf("%T", value)]
		if want := fmt.Sprint(schema["type"]); schema["type"] != nil && !strings.Contains(want, kind) {
			return append(wrong, fmt.Sprintf("%s is of type %s, not %s", where, kind, want))
		}
		properties, _ := schema["properties"].(map[string]any)
		if object, ok := value.(map[string]any); ok {
			required, _ := schema["required"].([]any)
			for _, name := range required {
				if _, there := object[name.(string)]; !there {
					wrong = append(wrong, where+"."+name.(string)+" is missing")
				}
			}
			for name, member := range object {
				if property, there := properties[name]; there {
					wrong = append(wrong, fits(member, property, where+"."+name)...)
				} else if name != "error" && name != "detail" { // these come from two schemas
					wrong = append(wrong, where+"."+name+" is not documented")
				}
			}
		}
		if array, ok := value.([]any); ok {
			for i, item := range array {
				wrong = append(wrong, fits(item, schema["items"], fmt.Sprintf("%s[%d]", where, i))...)
			}
		}
		return wrong
	}
	compared := map[string]bool{}
	check := func(method, path string, a answer) {
		t.Helper()
		operation := doc["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(method)].(map[string]any)
		documented, ok := operation["responses"].(map[string]any)[strconv.Itoa(a.status)]
		if !ok {
			t.Errorf("%s %s answers %d, which is not documented", method, path, a.status)
			return
		}
		compared[fmt.Sprint(method, " ", path, " ", a.status)] = true
		response := resolve(documented)
		headers, _ := response["headers"].(map[string]any)
		for name, header := range headers {
			schema := resolve(resolve(header)["schema"])
			if c, ok := schema["const"]; a.headers.Get(name) == "" || ok && c != a.headers.Get(name) {
				t.Errorf("%s %s %d: %s is %q", method, path, a.status, name, a.headers.Get(name))
			}
		}
		for _, name := range []string{"Retry-After", "WWW-Authenticate", "Location"} {
			if _, documented := headers[name]; a.headers.Get(name) != "" && !documented {
				t.Errorf("%s %s %d: %s is not documented", method, path, a.status, name)
			}
		}
		content, _ := response["content"].(map[string]any)
		mediaType, _, _ := strings.Cut(a.headers.Get("Content-Type"), ";")
		if a.status == 307 {
			return
		}
		media, ok := content[mediaType].(map[string]any)
		if !ok {
			t.Errorf("%s %s %d: %s is not documented", method, path, a.status, mediaType)
			return
		}
		var body any = a.body
		if mediaType == "application/json" {
			if err := json.Unmarshal([]byte(a.body), &body); err != nil {
				t.Fatal(err)
			}
		}
		if path != "/openapi.json" {
			for _, wrong := range fits(body, media["schema"], "body") {
				t.Errorf("%s %s %d: %s in %s", method, path, a.status, wrong, a.body)
			}
		}
	}
	const asForm, asJSON = "application/x-www-form-urlencoded", "application/json"
	for range 2 { // 201, 400
		check("POST", "/auth/signup", s.signup(t, lessonSignup))
	}
	check("POST", "/auth/signup", s.signup(t, `{}`))
	check("POST", "/auth/signup", s.signup(t, `{`))
	check("POST", "/auth/signup", s.do(t, "POST", "/auth/signup", lessonSignup))
	check("POST", "/auth/signup", s.signup(t, strings.Repeat(" ", maxBody+1)))
	check("POST", "/auth/signup", s.do(t, "POST", "/auth/signup", lessonSignup, "Sec-Fetch-Site", "cross-site"))
	check("POST", "/auth/login", s.login(t, "enrico", "plaintextpassword"))
	check("POST", "/auth/login", s.login(t, "", ""))
	check("POST", "/auth/login", s.do(t, "POST", "/auth/login", "grant_type=refresh_token", "Content-Type", asForm))
	check("POST", "/auth/login", s.do(t, "POST", "/auth/login", "{}", "Content-Type", asJSON))
	check("POST", "/auth/login", s.do(t, "POST", "/auth/login", strings.Repeat(" ", maxBody+1), "Content-Type", asForm))
	check("POST", "/auth/login", s.do(t, "POST", "/auth/login", "", "Sec-Fetch-Site", "cross-site"))
	token := s.token(t, "enrico", "plaintextpassword")
	check("GET", "/auth/me", s.me(t, token))
	check("GET", "/auth/me", s.me(t, "x"))
	check("GET", "/auth/me", s.do(t, "GET", "/auth/me", ""))
	for range 11 { // 401, 429
		check("POST", "/auth/login", s.login(t, "enrico", "wrong"))
	}
	full := cap(s.server.waiting)
	for range full {
		s.server.waiting <- struct{}{}
	}
	check("POST", "/auth/signup", s.signup(t, strings.Replace(lessonSignup, "enrico", "anna", 1)))
	check("POST", "/auth/login", s.login(t, "anna", "plaintextpassword"))
	for _, path := range []string{"/", "/docs", "/healthz", "/openapi.json"} {
		check("GET", path, s.do(t, "GET", path, ""))
	}
	for path, methods := range doc["paths"].(map[string]any) {
		for method, operation := range methods.(map[string]any) {
			for status := range operation.(map[string]any)["responses"].(map[string]any) {
				if !compared[strings.ToUpper(method)+" "+path+" "+status] {
					t.Errorf("%s %s %s is documented, and was not seen", method, path, status)
				}
			}
		}
	}
	flow := resolve(doc["components"])["securitySchemes"].(map[string]any)["OAuth2Password"].(map[string]any)["flows"].(map[string]any)["password"].(map[string]any)
	if flow["tokenUrl"] != "auth/login" {
		t.Errorf("tokenUrl %v", flow["tokenUrl"])
	}
	// The limits are those of the code.
	properties := resolve(resolve(doc["components"])["schemas"].(map[string]any)["Signup"])["properties"].(map[string]any)
	for name, limit := range map[string]float64{"username": maxUsername, "email": maxEmail, "password": maxPassword} {
		if got := resolve(properties[name])["maxLength"]; got != limit {
			t.Errorf("maxLength of %s is %v, not %v", name, got, limit)
		}
	}
}

// TestPage drives the try-it page in headless Chromium, by ChromeDriver's plain HTTP protocol (W3C WebDriver).
func TestPage(t *testing.T) {
	b := newBrowser(t)
	p := start(t, "-cost", "4")
	b.open(p.url + "/docs")

	b.fill("signup", "username", "en rico", "email", "enrico@example.com", "password", "short")
	b.press("signup")
	b.waitFor(`#signup [role=status]`, "422 Unprocessable Entity")
	b.waitFor(`#signup-username-fault`, "String should have only ASCII letters, digits and . _ - @ +")
	b.waitFor(`#signup-password-fault`, "String should have at least 8 characters")
	if got := b.script(`return document.activeElement.id + " " + document.activeElement.getAttribute("aria-invalid") + " " + document.activeElement.getAttribute("aria-describedby")`); got != "signup-username true signup-username-fault" {
		t.Errorf("the focus is on %v", got)
	}

	b.fill("signup", "username", "enrico", "email", "enrico@example.com", "password", "it's <b>secret</b>")
	b.press("signup")
	b.waitFor(`#signup [role=status]`, "201 Created")
	b.waitFor(`section:has(#signup) .request`, "POST /auth/signup\nContent-Type: application/json\n\n"+`{"username":"enrico","email":"enrico@example.com","password":"********"}`)
	b.waitFor(`section:has(#signup) .answer`, "201 Created\nContent-Type: application/json\nCache-Control: no-store\n\n"+`{"message":"User created","user_id":1}`)
	if text := b.text("body"); strings.Contains(text, "secret") || strings.Contains(text, "String should") {
		t.Errorf("the page shows the password, or a fault of before:\n%s", text)
	}
	if got := b.script(`return document.activeElement.textContent`); got != "Sign up" {
		t.Errorf("after the answer the focus is on %q", got)
	}
	b.press("signup")
	b.waitFor(`#signup [role=status]`, "400 Bad Request")
	b.waitFor(`#signup [role=status]`, "Username already exists")

	b.press("me")
	b.waitFor(`#me [role=status]`, "401 Unauthorized")
	b.waitFor(`section:has(#me) .answer`, `WWW-Authenticate: Bearer realm="auth"`)

	b.press("login") // with what sign-up has put there
	b.waitFor(`#login [role=status]`, "200 OK")
	b.waitFor(`section:has(#login) .request`, "POST /auth/login\nContent-Type: application/x-www-form-urlencoded\n\nusername=enrico&password=********")
	b.waitFor(`#header-json`, `"alg": "HS256"`)
	b.waitFor(`#payload-json`, `"sub": "1"`)
	b.waitFor(`#expiry`, "expires in 59:")
	token := b.text("#header") + "." + b.text("#payload") + "." + b.text("#signature")
	p.me(t, token).contains(t, 200, `"enrico"`)

	b.click("#show-password")
	b.waitFor(`section:has(#login) .request`, "password=it%27s+%3Cb%3Esecret%3C%2Fb%3E")
	if curl, err := exec.LookPath("curl"); err == nil {
		out, err := exec.Command("bash", "-c", b.text(`section:has(#login) .curl`)).Output()
		if err != nil || !strings.Contains(string(out), `"Login successful"`) {
			t.Errorf("%s: %v\n%s", curl, err, out)
		}
	}
	b.press("me")
	b.waitFor(`#me [role=status]`, "You are enrico")
	b.waitFor(`section:has(#me) .request`, "GET /auth/me\nAuthorization: Bearer "+token)
	b.waitFor(`section:has(#me) .answer`, `{"id":1,"username":"enrico","email":"enrico@example.com","is_active":true}`)

	b.call("POST", "/goog/cdp/execute", map[string]any{"cmd": "Emulation.setDeviceMetricsOverride",
		"params": map[string]any{"width": 360, "height": 800, "deviceScaleFactor": 2, "mobile": true}})
	if wide := b.script(`return document.documentElement.scrollWidth`); wide != 360. {
		t.Errorf("on a phone of 360 pixels the page is %v wide", wide)
	}
	// Every message of the console is the browser's own line on an answer that we provoked; every request went to us.
	for _, entry := range b.logs("browser") {
		if !regexp.MustCompile(`Failed to load resource: the server responded with a status of (422|400|401)`).MatchString(entry) {
			t.Errorf("the console says %s", entry)
		}
	}
	requests := 0
	for _, entry := range b.logs("performance") {
		if found := regexp.MustCompile(`"Network\.requestWillBeSent".*"request":\{.*?"url":"([^"]*)"`).FindStringSubmatch(entry); found != nil {
			requests++
			if !regexp.MustCompile(`^(` + p.url + `/|data:|chrome:)`).MatchString(found[1]) { // chrome: is the browser's own empty tab
				t.Errorf("a request to %s", found[1])
			}
		}
	}
	if requests < 7 {
		t.Errorf("%d requests were seen", requests)
	}
}

// TestPageIsOneDocument holds the page to its policy: its own script and style by their digests, and nothing from elsewhere.
func TestPageIsOneDocument(t *testing.T) {
	a := newService(t).do(t, "GET", "/docs", "")
	a.header(t, "Content-Type", "text/html; charset=utf-8").header(t, "X-Content-Type-Options", "nosniff")
	policy := "default-src 'none'"
	for _, element := range []string{"script", "style"} {
		found := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(a.body, -1)
		if len(found) != 1 {
			t.Fatalf("%d elements %s", len(found), element)
		}
		digest := sha256.Sum256([]byte(found[0][1]))
		policy += "; " + element + "-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
	}
	a.header(t, "Content-Security-Policy", policy+"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	for _, never := range []string{"http:", "https:", "//cdn", "innerHTML", "insertAdjacentHTML", "document.write", "eval(", " onclick", "localStorage"} {
		if strings.Contains(a.body, never) {
			t.Errorf("the page has %s", never)
		}
	}
}

// ---------------------------------------------------------------------------------------------------------------------
// Fuzzing

// FuzzSignup holds that whatever the body, the answer is one of the README's, and that who is signed up can log in.
func FuzzSignup(f *testing.F) {
	for _, seed := range []string{lessonSignup, `{}`, `[]`, `null`, `{"username":"a","email":"a@b","password":"12345678"}`,
		`{"username":"a","email":"a@b","password":"ü☃345678\ud83d\ude00"}`, `{"username":"\u212a","email":"=?utf-8?q?a?=@b","password":"\ud800\ud8001234"}`,
		`{"username":"a","username":"b","email":"\"a b\"@c","hashed_password":"12345678","password":"12345678"}`, "\xff", `{"a":` + strings.Repeat("[", 10_001)} {
		f.Add([]byte(seed))
	}
	s := newService(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/auth/signup", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) || !slices.Contains([]int{201, 400, 413, 422}, w.Code) {
			t.Fatal(w.Code, w.Body)
		}
		if w.Code != 201 {
			return
		}
		var sent map[string]any
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Fatal(err)
		}
		password, ok := sent["password"].(string)
		if !ok {
			password = sent["hashed_password"].(string)
		}
		if a := s.login(t, sent["username"].(string), password); a.status != 200 {
			t.Fatalf("%q signed up and can't log in: %d %s", body, a.status, a.body)
		}
		if s.login(t, sent["username"].(string), password+" ").status == 200 {
			t.Fatalf("%q logs in with another password", body)
		}
		if _, err := OpenStore(s.users, s.server.log); err != nil {
			t.Fatalf("%q makes a file that can't be read: %v", body, err)
		}
		writeFile(t, s.users, "[]") // keep it small
	})
}

// FuzzLogin holds that no form logs in but the right one, and that none is answered otherwise than the README says.
func FuzzLogin(f *testing.F) {
	for _, seed := range []string{"username=enrico&password=plaintextpassword", "username=%65nrico&password=x", "username=a&username=b&password=c",
		"grant_type=password&username=enrico&password=%ff%00", ";", "%", "a=%zz", strings.Repeat("a&", 20_000), "username=+&password=+&=&&"} {
		f.Add([]byte(seed))
	}
	s := newService(f)
	s.signup(f, lessonSignup)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := httptest.NewRequest("POST", "/auth/login", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		var answer struct {
			Detail, Error, AccessToken any
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || !slices.Contains([]int{200, 401, 413, 422, 429}, w.Code) {
			t.Fatal(w.Code, w.Body)
		}
		if w.Code != 200 && (answer.Detail == nil || answer.Error == nil) {
			t.Fatal(w.Code, w.Body)
		}
		if w.Code == 200 {
			form, err := url.ParseQuery(string(body))
			if err != nil || !strings.EqualFold(form.Get("username"), "enrico") || form.Get("password") != "plaintextpassword" {
				t.Fatalf("%q logs in", body)
			}
		}
	})
}

// FuzzToken holds that no token passes but the one that was signed.
func FuzzToken(f *testing.F) {
	key, now := []byte(strings.Repeat("the key ", 4)), time.Unix(1_800_000_000, 0)
	good := signToken(key, claims{"1", now.Unix(), now.Unix() + 60, "AAAAAAAAAAA"})
	for _, seed := range []string{good, good + "=", good + ".", "." + good, "..", "", strings.ToLower(good), good[:len(good)-1],
		"eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIiwiZXhwIjo5OTk5OTk5OTk5fQ."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		c, err := verifyToken(key, token, now)
		if (err == nil) != (token == good) || err != nil && c != (claims{}) {
			t.Fatalf("%q: %+v, %v", token, c, err)
		}
	})
}

// FuzzUsersFile holds that a text which is taken for a users file can be saved to and read again with everybody in it, and
// that of any other the place and the fault are said.
func FuzzUsersFile(f *testing.F) {
	f.Add([]byte(readFile(f, "users.json.example")))
	hash := newHash(f, "plaintextpassword", 4)
	for _, seed := range []string{"", "[]", "[ ]\n", "\ufeff[]", "null", "[null]", "[1]", "[[]]", "{}", "[\n]]", "\xff", "[\"]\"]",
		`[{"id":1,"username":"a","email":"a@b","hashed_password":"` + hash + `","is_active":true,"note":"]"}]`,
		`[{"ID":1,"username":"\ud800","email":"a@b","hashed_password":"` + hash + `","is_active":null}]`} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "users.json")
	log := slog.New(slog.DiscardHandler)
	f.Fuzz(func(t *testing.T, text []byte) {
		writeFile(t, path, string(text))
		age(t, path)
		s, err := OpenStore(path, log)
		if err != nil {
			if !regexp.MustCompile(`users\.json:\d+:\d+: .+`).MatchString(err.Error()) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		before := maps.Clone(s.users)
		u, err := s.Create(User{Username: "fuzz-user", Email: "a@b", HashedPassword: hash, IsActive: true})
		if errors.Is(err, ErrExists) || err != nil && s.maxID == 1<<63-1 {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		before[u.ID] = u
		again, err := OpenStore(path, log)
		if err != nil || !maps.Equal(again.users, before) {
			t.Fatalf("%q: after a save: %v\n got %v\nwant %v", text, err, again.users, before)
		}
	})
}

// ---------------------------------------------------------------------------------------------------------------------
// Benchmarks
//
// Speeds are given as ratios of two things measured in turn in one run, since machines differ and are shared.

const (
	benchCost = 12              // the program's own
	benchTurn = 4 * time.Second // how long each of the two is measured at a time
	clients   = 32
)

// inParallel calls f in n goroutines, again and again for a turn, and returns how often in a second.
func inParallel(n int, f func()) float64 {
	var count atomic.Int64
	var workers sync.WaitGroup
	start := time.Now()
	for range n {
		workers.Go(func() {
			for time.Since(start) < benchTurn {
				f()
				count.Add(1)
			}
		})
	}
	workers.Wait()
	return float64(count.Load()) / time.Since(start).Seconds()
}

// quantiles calls f again and again for a turn and returns how long the median call and the 99th of 100 took.
func quantiles(f func()) (p50, p99 time.Duration) {
	var took []time.Duration
	for start := time.Now(); time.Since(start) < benchTurn; {
		before := time.Now()
		f()
		took = append(took, time.Since(before))
	}
	slices.Sort(took)
	return took[len(took)/2], took[len(took)*99/100]
}

// beside runs f in n goroutines while g runs.
func beside(n int, f, g func()) {
	var stop atomic.Bool
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for !stop.Load() {
				f()
			}
		})
	}
	g()
	stop.Store(true)
	workers.Wait()
}

// BenchmarkLogin compares log-ins over HTTP by 32 clients with bcrypt alone on all processors.
func BenchmarkLogin(b *testing.B) {
	p := start(b, "-cost", strconv.Itoa(benchCost))
	p.signup(b, lessonSignup)
	hash := []byte(newHash(b, "plaintextpassword", benchCost))
	var raw, login float64
	rounds := 0.
	for b.Loop() {
		raw += inParallel(processors, func() { bcrypt.CompareHashAndPassword(hash, []byte("plaintextpassword")) })
		login += inParallel(clients, func() { p.token(b, "enrico", "plaintextpassword") })
		rounds++
	}
	b.ReportMetric(login/raw, "login/bcrypt")
	b.ReportMetric(login/rounds, "logins/s")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkRefusal compares the time of each kind of refused log-in with that of a wrong password.
func BenchmarkRefusal(b *testing.B) {
	s := newService(b, func(s *server) { s.cost = benchCost })
	user := func(id int, name string, cost int, active bool) string {
		return fmt.Sprintf(`{"id":%d,"username":%q,"email":"a@b","hashed_password":%q,"is_active":%v}`, id, name, newHash(b, "plaintextpassword", cost), active)
	}
	writeFile(b, s.users, "["+user(1, "enrico", benchCost, true)+","+user(2, "disabled", benchCost, false)+","+user(3, "cheaper", 6, true)+"]")
	kinds := map[string][2]string{
		"wrong": {"enrico", "wrong"}, "unknown": {"nobody", "wrong"}, "disabled": {"disabled", "plaintextpassword"},
		"overlong": {"enrico", strings.Repeat("x", 5000)}, "cheaper": {"cheaper", "wrong"},
	}
	took := map[string]time.Duration{}
	for b.Loop() {
		for range 8 {
			for kind, credentials := range kinds {
				start := time.Now()
				if a := s.login(b, credentials[0], credentials[1]); a.status != 401 {
					b.Fatal(a)
				}
				took[kind] += time.Since(start)
			}
			clear(s.server.throttle.failed)
		}
	}
	for kind := range kinds {
		if kind != "wrong" {
			b.ReportMetric(float64(took[kind])/float64(took["wrong"]), kind+"/wrong")
		}
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMeBesideLogins asks who am I, alone and while 32 clients log in.
func BenchmarkMeBesideLogins(b *testing.B) {
	p := start(b, "-cost", strconv.Itoa(benchCost))
	p.signup(b, lessonSignup)
	token := p.token(b, "enrico", "plaintextpassword")
	me := func() { p.me(b, token).contains(b, 200, `"id":1`) }
	for b.Loop() {
		p50, p99 := quantiles(me)
		b.ReportMetric(float64(p50.Microseconds()), "alone-p50-µs")
		b.ReportMetric(float64(p99.Microseconds()), "alone-p99-µs")
		beside(clients, func() { p.login(b, "enrico", "plaintextpassword") }, func() { // in line for up to 5 s, then 503
			loaded50, loaded99 := quantiles(me)
			b.ReportMetric(float64(loaded50.Microseconds()), "loaded-p50-µs")
			b.ReportMetric(float64(loaded99.Microseconds()), "loaded-p99-µs")
			b.ReportMetric(float64(loaded50)/float64(p50), "loaded/alone-p50")
		})
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMe asks who am I over HTTP, from as many clients as there are processors.
func BenchmarkMe(b *testing.B) {
	p := start(b, "-cost", "4")
	p.signup(b, lessonSignup)
	token := p.token(b, "enrico", "plaintextpassword")
	for b.Loop() {
		b.ReportMetric(inParallel(processors, func() { p.me(b, token).contains(b, 200, `"id":1`) }), "requests/s")
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMeHandler is the service's own part of that, without the network.
func BenchmarkMeHandler(b *testing.B) {
	s := newService(b, func(s *server) { s.log = slog.New(slog.DiscardHandler) })
	s.signup(b, lessonSignup)
	r := httptest.NewRequest("GET", "/auth/me", nil)
	r.Header.Set("Authorization", "Bearer "+s.token(b, "enrico", "plaintextpassword"))
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		s.server.ServeHTTP(w, r)
		if w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}

// BenchmarkVerifyToken verifies a token.
func BenchmarkVerifyToken(b *testing.B) {
	key, now := []byte(strings.Repeat("the key ", 4)), time.Unix(1_800_000_000, 0)
	token := signToken(key, claims{"1", now.Unix(), now.Unix() + 60, "AAAAAAAAAAA"})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := verifyToken(key, token, now); err != nil {
			b.Fatal(err)
		}
	}
}

// manyUsers writes a users file of n users, of cost 4, whose first is the lesson's.
func manyUsers(b testing.TB, path string, n int) (text []byte) {
	b.Helper()
	hash := newHash(b, "plaintextpassword", 4)
	out := bytes.NewBufferString("[")
	for i := 1; i <= n; i++ {
		name := "user" + strconv.Itoa(i)
		if i == 1 {
			name = "enrico"
		} else {
			out.WriteByte(',')
		}
		fmt.Fprintf(out, "\n"+`{"id":%d,"username":%q,"email":"%s@example.com","hashed_password":%q,"is_active":true}`, i, name, name, hash)
	}
	out.WriteString("\n]\n")
	writeFile(b, path, out.String())
	age(b, path)
	return out.Bytes()
}

// BenchmarkCreate stores one more user beside n.
func BenchmarkCreate(b *testing.B) {
	hash := newHash(b, "plaintextpassword", 4)
	for _, n := range []int{0, 10_000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "users.json")
			manyUsers(b, path, n)
			s, err := OpenStore(path, slog.New(slog.DiscardHandler))
			if err != nil {
				b.Fatal(err)
			}
			i := 0
			for b.Loop() {
				if _, err := s.Create(User{Username: "new" + strconv.Itoa(i), Email: "a@b", HashedPassword: hash, IsActive: true}); err != nil {
					b.Fatal(err)
				}
				i++
			}
			b.ReportMetric(float64(len(readFile(b, path))), "bytes")
		})
	}
}

// BenchmarkSignupBesideMany compares a whole sign-up at cost 12 beside 100,000 users with one beside none.
func BenchmarkSignupBesideMany(b *testing.B) {
	users := filepath.Join(b.TempDir(), "users.json")
	manyUsers(b, users, 100_000)
	few, many := start(b), start(b, "-users", users)
	var tookFew, tookMany time.Duration
	signUp := func(p *program, i int) time.Duration {
		start := time.Now()
		if status := p.signUp(b, "new"+strconv.Itoa(i)); status != 201 {
			b.Fatal(status)
		}
		return time.Since(start)
	}
	round := 0
	for b.Loop() {
		for range 10 {
			tookFew += signUp(few, round)
			tookMany += signUp(many, round)
			round++
		}
	}
	b.ReportMetric(float64(tookMany)/float64(tookFew), "many/none")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkOpen compares opening a file of 100,000 users with json.Unmarshal of its text.
func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "users.json")
	text := manyUsers(b, path, 100_000)
	var opening, unmarshalling time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := OpenStore(path, slog.New(slog.DiscardHandler)); err != nil {
			b.Fatal(err)
		}
		opening += time.Since(start)
		start = time.Now()
		if err := json.Unmarshal(text, new([]User)); err != nil {
			b.Fatal(err)
		}
		unmarshalling += time.Since(start)
	}
	b.ReportMetric(float64(opening)/float64(unmarshalling), "open/unmarshal")
}

// BenchmarkMeBesideSignups asks who am I while users are stored beside 100,000 others, one after the other.
func BenchmarkMeBesideSignups(b *testing.B) {
	users := filepath.Join(b.TempDir(), "users.json")
	manyUsers(b, users, 100_000)
	p := start(b, "-users", users, "-cost", "4")
	token := p.token(b, "enrico", "plaintextpassword")
	me := func() { p.me(b, token).contains(b, 200, `"id":1`) }
	i := 0
	for b.Loop() {
		p50, p99 := quantiles(me)
		b.ReportMetric(float64(p50.Microseconds()), "alone-p50-µs")
		b.ReportMetric(float64(p99.Microseconds()), "alone-p99-µs")
		beside(1, func() { i++; p.signUp(b, "new"+strconv.Itoa(i)) }, func() {
			p50, p99 := quantiles(me)
			b.ReportMetric(float64(p50.Microseconds()), "saving-p50-µs")
			b.ReportMetric(float64(p99.Microseconds()), "saving-p99-µs")
		})
	}
	b.ReportMetric(float64(i), "signups")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkMemory reads how much memory the program occupies, at rest, after a flood of log-ins, and with 100,000 users.
func BenchmarkMemory(b *testing.B) {
	resident := func(p *program) float64 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		if err != nil {
			b.Skip("needs Linux's /proc")
		}
		kB, _ := strconv.ParseFloat(regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindStringSubmatch(string(status))[1], 64)
		return kB / 1024
	}
	users := filepath.Join(b.TempDir(), "users.json")
	manyUsers(b, users, 100_000)
	for b.Loop() {
		p := start(b, "-cost", "4")
		p.signup(b, lessonSignup)
		b.ReportMetric(resident(p), "at-rest-MiB")
		inParallel(200, func() { p.login(b, "enrico", "plaintextpassword") })
		b.ReportMetric(resident(p), "flooded-MiB")
		b.ReportMetric(resident(start(b, "-cost", "4", "-users", users)), "100000-users-MiB")
	}
	b.ReportMetric(0, "ns/op")
}

// ---------------------------------------------------------------------------------------------------------------------
// Helpers

// TestMain lets the test binary be authflow itself: a test that needs a process runs it again with AUTHFLOW_RUN set.
func TestMain(m *testing.M) {
	if os.Getenv("AUTHFLOW_RUN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// An api is where requests go: a service within the test, or a program beside it.
type api struct {
	url string
	log *output
}

// A service is the real handler with a store of its own, at bcrypt's least cost.
type service struct {
	api
	server *server
	users  string
}

func newService(t testing.TB, settings ...func(*server)) *service {
	t.Helper()
	users := filepath.Join(t.TempDir(), "users.json")
	log := &output{}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	store, err := OpenStore(users, logger)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(store, logger, minCost, time.Hour, []byte(strings.Repeat("the key ", 4)))
	for _, set := range settings {
		set(s)
	}
	web := httptest.NewUnstartedServer(s)
	web.Config.MaxHeaderBytes = maxHeader
	web.Config.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
	web.Start()
	t.Cleanup(web.Close)
	return &service{api{web.URL, log}, s, users}
}

// A program is authflow as a process.
type program struct {
	api
	cmd   *exec.Cmd
	users string
	ended chan struct{}
}

// start runs authflow on a free port with the given flags and waits until it listens. A flag NAME=VALUE is for the
// environment; UMASK=… sets the umask. The users file is users.json in a folder of the test, unless there is -users.
func start(t testing.TB, flags ...string) *program {
	t.Helper()
	p := launch(t, flags...)
	if !p.log.await("msg=listening") {
		t.Fatalf("it does not listen:\n%s", p.log)
	}
	p.url = regexp.MustCompile(`url=(\S+)`).FindStringSubmatch(p.log.String())[1]
	return p
}

// launch is start without waiting.
func launch(t testing.TB, flags ...string) *program {
	t.Helper()
	p := &program{api: api{log: &output{}}, ended: make(chan struct{})}
	environment, umask := append(os.Environ(), "AUTHFLOW_RUN=1"), "077"
	var args []string
	for _, flag := range flags {
		name, value, ok := strings.Cut(flag, "=")
		switch {
		case ok && name == "UMASK":
			umask = value
		case ok && strings.ToUpper(name) == name:
			environment = append(environment, flag)
		default:
			args = append(args, flag)
		}
	}
	if !slices.Contains(args, "-addr") {
		args = append([]string{"-addr", "127.0.0.1:0"}, args...)
	}
	if i := slices.Index(args, "-users"); i >= 0 {
		p.users = args[i+1]
	} else {
		p.users = filepath.Join(t.TempDir(), "users.json")
		args = append([]string{"-users", p.users}, args...)
	}
	p.cmd = exec.Command("sh", append([]string{"-c", "umask " + umask + `; exec "$0" "$@"`, os.Args[0]}, args...)...)
	p.cmd.Env = environment
	p.cmd.Stderr = p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		p.log.close()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

// exit waits for the program to end and returns its exit status, -1 if a signal ended it.
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

// An output collects what a program says, and lets a test wait for it.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed at the next write
	done bool
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wake()
	return o.text.Write(p)
}

func (o *output) wake() {
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
}

func (o *output) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = true
	o.wake()
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await waits until the output has that text, and reports whether it came.
func (o *output) await(text string) bool {
	deadline := time.After(30 * time.Second)
	for {
		o.mu.Lock()
		found, done := strings.Contains(o.text.String(), text), o.done
		if o.more == nil {
			o.more = make(chan struct{})
		}
		more := o.more
		o.mu.Unlock()
		if found || done {
			return found
		}
		select {
		case <-more:
		case <-deadline:
			return false
		}
	}
}

// An answer is what came back.
type answer struct {
	status  int
	headers http.Header
	body    string
}

// client follows no redirects and sends nothing of its own; it trusts the certificate that the test made.
var client = &http.Client{
	Transport: &http.Transport{
		MaxIdleConnsPerHost: 100,
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2:   true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Timeout:       time.Minute,
}

// try sends a request with the given headers, as pairs of name and value.
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
		t.Error(err) // and not Fatal: clients call this from goroutines of their own
	}
	return a
}

func (s api) signup(t testing.TB, body string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/signup", body, "Content-Type", "application/json")
}

// signUp signs up a user of that name with the lesson's password, and returns the status.
func (s api) signUp(t testing.TB, username string) int {
	t.Helper()
	return s.signup(t, `{"username":"`+username+`","email":"`+username+`@example.com","password":"plaintextpassword"}`).status
}

func (s api) login(t testing.TB, username, password string) answer {
	t.Helper()
	form := url.Values{"username": {username}, "password": {password}}
	return s.do(t, "POST", "/auth/login", form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// token logs in and returns the token.
func (s api) token(t testing.TB, username, password string) string {
	t.Helper()
	a := s.login(t, username, password)
	_, token, _ := strings.Cut(a.body, `"access_token":"`)
	token, _, ok := strings.Cut(token, `"`)
	if a.status != 200 || !ok {
		t.Fatalf("no token: %d %s", a.status, a.body)
	}
	return token
}

func (s api) me(t testing.TB, token string) answer {
	t.Helper()
	return s.do(t, "GET", "/auth/me", "", "Authorization", "Bearer "+token)
}

// raw sends a request as it is, "METHOD path", and further header lines after it; the body's length is added unless there
// is one. It returns the answer, and lets the service close the connection before all is sent.
func (s api) raw(t testing.TB, request, body string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	first, headers, _ := strings.Cut(request, "\r\n")
	if !strings.Contains(headers, "Content-Length") && !strings.Contains(headers, "Transfer-Encoding") {
		headers += fmt.Sprintf("\r\nContent-Length: %d", len(body))
	}
	go io.WriteString(conn, first+" HTTP/1.1\r\nHost: "+strings.TrimPrefix(s.url, "http://")+"\r\nConnection: close\r\n"+
		strings.TrimPrefix(headers, "\r\n")+"\r\n\r\n"+body)
	method, _, _ := strings.Cut(first, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%.80q: %v", request, err)
	}
	text, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(text)}
}

// is fails the test unless the answer has that status and exactly that body.
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

// faults fails the test unless the answer is a 422 with these faults: "type place, type place".
func (a answer) faults(t testing.TB, what, want string) {
	t.Helper()
	var body struct {
		Detail []struct {
			Type string
			Loc  []any
			Msg  string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != 422 {
		t.Errorf("%s: %d %s", what, a.status, a.body)
		return
	}
	var got []string
	for _, f := range body.Detail {
		var place []string
		for _, part := range f.Loc {
			place = append(place, fmt.Sprint(part))
		}
		got = append(got, f.Type+" "+strings.Join(place, "."))
		if len(f.Msg) < 10 {
			t.Errorf("%s: the message says nothing: %q", what, f.Msg)
		}
	}
	if strings.Join(got, ", ") != want {
		t.Errorf("%s: %s\n got %s\nwant %s", what, a.body, strings.Join(got, ", "), want)
	}
}

// decode returns the text of a token's part.
func decode(t testing.TB, part string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func newHash(t testing.TB, password string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// writeFile truncates and writes, as VS Code and nano do.
func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// age makes a file look as if it had not just been written, which a program would wait a moment for.
func age(t testing.TB, path string) {
	t.Helper()
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
}

func noEnvironment(string) string { return "" }

// mount mounts something for the test. It needs root, and the test is skipped without.
func mount(t *testing.T, args ...string) {
	t.Helper()
	need(t, "mount")
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", args[len(args)-1]).Run() })
}

// need skips the test where a program that it uses is missing.
func need(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip("needs " + program)
	}
	return path
}

// strace watches a running program, or interferes with it, as its arguments say, until the returned function is called.
func strace(t *testing.T, p *program, args ...string) (stop func()) {
	t.Helper()
	tracer := exec.Command(need(t, "strace"), append([]string{"-f", "-p", strconv.Itoa(p.cmd.Process.Pid)}, args...)...)
	said := &output{}
	tracer.Stderr = said
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	if !said.await("attached") {
		t.Fatal(said)
	}
	return func() {
		tracer.Process.Signal(os.Interrupt)
		tracer.Wait()
	}
}

// await waits until something is so.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !so(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for ", what)
		}
	}
}

// A browser is headless Chromium at the other end of a ChromeDriver.
type browser struct {
	t       *testing.T
	session string // URL
}

// newBrowser starts ChromeDriver and a browser with a profile of its own. The test is skipped where there is none.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	chromium := need(t, "chromium")
	driver := exec.Command(need(t, "chromedriver"), "--port=0")
	said := &output{}
	driver.Stdout, driver.WaitDelay = said, time.Second // its browser may hold the pipe open
	if err := driver.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		driver.Process.Kill()
		driver.Wait()
	})
	if !said.await("started successfully on port ") {
		t.Fatal(said)
	}
	port := regexp.MustCompile(`successfully on port (\d+)`).FindStringSubmatch(said.String())[1]
	b := &browser{t, "http://127.0.0.1:" + port + "/session"}
	answer := b.call("POST", "", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"browserName":       "chrome",
		"goog:loggingPrefs": map[string]string{"browser": "ALL", "performance": "ALL"},
		"goog:chromeOptions": map[string]any{"binary": chromium, "args": []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--user-data-dir=" + t.TempDir()}},
	}}})
	b.session += "/" + answer.(map[string]any)["sessionId"].(string)
	t.Cleanup(func() { b.call("DELETE", "", map[string]any{}) })
	return b
}

// call sends a WebDriver command and returns its value.
func (b *browser) call(method, path string, parameters any) any {
	b.t.Helper()
	text, _ := json.Marshal(parameters)
	r, err := http.NewRequest(method, b.session+path, bytes.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body struct{ Value any }
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != 200 {
		b.t.Fatalf("%s %s: %d %v %v", method, path, resp.StatusCode, err, body.Value)
	}
	return body.Value
}

func (b *browser) open(url string) { b.call("POST", "/url", map[string]string{"url": url}) }

func (b *browser) script(code string, args ...any) any {
	b.t.Helper()
	return b.call("POST", "/execute/sync", map[string]any{"script": code, "args": append([]any{}, args...)})
}

// element returns the path of the element that a CSS selector finds.
func (b *browser) element(selector string) string {
	b.t.Helper()
	found := b.call("POST", "/element", map[string]string{"using": "css selector", "value": selector})
	for _, id := range found.(map[string]any) {
		return "/element/" + id.(string)
	}
	return ""
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.call("POST", b.element(selector)+"/click", map[string]any{})
}

// press presses the button of a step.
func (b *browser) press(form string) { b.click("#" + form + " button") }

// fill types into fields of a step, given as pairs of name and text.
func (b *browser) fill(form string, fields ...string) {
	b.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		input := b.element("#" + form + "-" + fields[i])
		b.call("POST", input+"/clear", map[string]any{})
		b.call("POST", input+"/value", map[string]string{"text": fields[i+1]})
	}
}

func (b *browser) text(selector string) string {
	b.t.Helper()
	return b.script(`return document.querySelector(arguments[0]).textContent`, selector).(string)
}

// waitFor waits until an element has that text in it.
func (b *browser) waitFor(selector, text string) {
	b.t.Helper()
	await(b.t, selector+" with "+text, func() bool { return strings.Contains(b.text(selector), text) })
}

// logs returns the entries of a log since it was asked last.
func (b *browser) logs(kind string) (entries []string) {
	b.t.Helper()
	for _, entry := range b.call("POST", "/se/log", map[string]string{"type": kind}).([]any) {
		entries = append(entries, entry.(map[string]any)["message"].(string))
	}
	return entries
}
