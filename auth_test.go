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
	sign := func(header, payload string, key []byte) string {
		unsigned := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(unsigned))
		return unsigned + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	const header = `{"alg":"HS256","typ":"JWT"}`
	if other := sign(header, payload, s.server.key); other != good {
		t.Fatalf("got  %s\nwant %s", good, other)
	}
	// claim returns the payload with one more claim, which wins over an earlier one of that name.
	claim := func(more string) string { return strings.TrimSuffix(payload, "}") + "," + more + "}" }
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, good[len(good)-1])
	forged := map[string]string{
		"alg none":                     sign(`{"alg":"none","typ":"JWT"}`, payload, s.server.key),
		"alg none, unsigned":           base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".",
		"alg HS512":                    sign(`{"alg":"HS512"}`, payload, s.server.key),
		"alg hs256":                    sign(`{"alg":"hs256"}`, payload, s.server.key),
		"alg missing":                  sign(`{"typ":"JWT"}`, payload, s.server.key),
		"crit":                         sign(`{"alg":"HS256","crit":["b64"],"b64":false}`, payload, s.server.key),
		"a key of its own":             sign(`{"alg":"HS256","jwk":{"kty":"oct","k":"YXR0YWNrZXI"}}`, payload, []byte("attacker")),
		"a key at a URL":               sign(`{"alg":"HS256","jku":"http://127.0.0.1/","kid":"../../dev/null"}`, payload, nil),
		"an empty key":                 sign(header, payload, nil),
		"another instance's key":       sign(header, payload, []byte(strings.Repeat("k", 32))),
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"two parts":                    parts[0] + "." + parts[1],
		"four parts":                   good + "." + parts[2],
		"one part":                     parts[2],
		"five parts, as encrypted":     "a.b.c.d.e",
		"only dots":                    "..",
		"padding":                      good + "=",
		"another spelling of the same": good[:len(good)-1] + string(alphabet[last^1]),
		"the other alphabet":           strings.NewReplacer("-", "+", "_", "/").Replace(sign(header, claim(`"x":"???>>>~~~"`), s.server.key)) + "/",
		"a space before":               "\t" + good,
		"a second token":               good + " " + good,
		"huge":                         strings.Repeat("A", 14<<10),
		"nested":                       sign(header, strings.Repeat(`{"a":`, 2000)+"1"+strings.Repeat("}", 2000), s.server.key),
		"a header that is no object":   sign(`"HS256"`, payload, s.server.key),
		"a payload that is no JSON":    sign(header, payload+"}", s.server.key),
		"no exp":                       sign(header, `{"sub":"1"}`, s.server.key),
		"exp null":                     sign(header, claim(`"exp":null`), s.server.key)[:10],
		"exp past":                     sign(header, claim(`"exp":1000000000`), s.server.key),
		"exp 0":                        sign(header, claim(`"exp":0`), s.server.key),
		"exp text":                     sign(header, claim(`"exp":"9999999999"`), s.server.key),
		"sub of nobody":                sign(header, claim(`"sub":"2"`), s.server.key),
		"sub a number":                 sign(header, claim(`"sub":1`), s.server.key),
		"sub empty":                    sign(header, claim(`"sub":""`), s.server.key),
		"sub with a sign":              sign(header, claim(`"sub":"0x1"`), s.server.key),
		"another fingerprint":          sign(header, claim(`"pwd":"AAAAAAAAAAA"`), s.server.key),
		"no fingerprint":               sign(header, claim(`"pwd":""`), s.server.key),
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
		ran := strings.Count(s.log.String(), `msg="ran bcrypt" cost=4`)
		a := s.login(t, row[0], row[1])
		a.headers.Del("Date")
		if i == 0 {
			first = a
			a.is(t, 401, `{"detail":"Invalid credentials","error":"invalid_grant"}`)
		}
		if a.status != first.status || a.body != first.body || fmt.Sprint(a.headers) != fmt.Sprint(first.headers) {
			t.Errorf("%.20q with %.20q: %v, want %v", row[0], row[1], a, first)
		}
		if strings.Count(s.log.String(), `msg="ran bcrypt" cost=4`) != ran+1 {
			t.Errorf("%.20q with %.20q did not run bcrypt", row[0], row[1])
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

// TestCost holds that -cost is what sign-up hashes with, and that hashes of other costs still log in.
func TestCost(t *testing.T) {
	s := newService(t, func(s *server) { s.cost = 5 })
	s.signup(t, lessonSignup)
	if text := readFile(t, s.users); !strings.Contains(text, `"hashed_password":"$2a$05$`) {
		t.Errorf("not a hash of cost 5: %s", text)
	}
	for _, cost := range []int{4, 6} {
		writeFile(t, s.users, `[{"id":1,"username":"enrico","email":"e@example.com","hashed_password":"`+newHash(t, "plaintextpassword", cost)+`","is_active":true}]`)
		s.login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
		s.login(t, "enrico", "wrong").contains(t, 401, `"Invalid credentials"`)
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

// TestCrash kills the program again and again while clients sign up, and asks for everybody who was told 201.
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
		{"empty", "", `users.json:1:1: not JSON, or not all of it: unexpected end of JSON input`},
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
				is(t, 503, `{"detail":"Users can not be stored just now"}`).header(t, "Retry-After", "5")
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
		for i := range 20 {
			mail := fmt.Sprintf("enrico%02d@example.com", i) // of one length, within one tick of the clock
			text := regexp.MustCompile(`enrico[0-9]*@`).ReplaceAllString(readFile(t, s.users), fmt.Sprintf("enrico%02d@", i))
			if err := edit(s.users, text); err != nil {
				t.Fatal(err)
			}
			s.me(t, token).contains(t, 200, mail)
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
	if err := os.Rename(s.users+"~", s.users); err != nil {
		t.Fatal(err)
	}
	if status := s.signUp(t, "anna"); status != 201 {
		t.Errorf("the file is back, and sign-up gets %d", status)
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

	// What a killed program left behind goes; what only looks like it stays.
	writeFile(t, at("data/.real.json.tmp123"), "x")
	writeFile(t, at("data/.real.json.tmpl"), "x")
	start(t, "-users", at("link"))
	if entries, _ := os.ReadDir(at("data")); len(entries) != 2 || entries[0].Name() != ".real.json.tmpl" {
		t.Errorf("left in the folder: %v", entries)
	}

	// What can't be a users file is refused at once, in one line.
	if err := errors.Join(os.Symlink("self", at("self")), exec.Command("mkfifo", at("pipe")).Run()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:              "is a folder, not a file",
		at("pipe"):       "is a named pipe, not a file",
		"/dev/null":      "is a device or socket, not a file",
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
			for n := range 60 {
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
			is(t, 503, `{"detail":"Users can not be stored just now"}`).header(t, "Retry-After", "5")
		if got := readFile(t, p.users); got != before {
			t.Errorf("%s: the file has changed:\n%s", what, got)
		}
		if entries, _ := os.ReadDir(dir); slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return strings.Contains(e.Name(), "tmp") }) {
			t.Errorf("%s: a temporary file stays: %v", what, entries)
		}
		if !strings.Contains(p.log.String(), reason) {
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
	p.signUp(t, "enrico")
	token := p.token(t, "enrico", "plaintextpassword")
	folder := filepath.Dir(p.users)
	for _, row := range []struct {
		what, reason string
		rules        []string
	}{
		{"fsync of the file fails", "input/output error", []string{"-e", "inject=fsync:error=EIO"}},
		{"fsync of the folder fails", "input/output error", []string{"-P", folder, "-e", "inject=fsync:error=EIO"}},
		{"rename fails", "permission denied", []string{"-e", "inject=/^rename:error=EACCES"}},
	} {
		before := readFile(t, p.users)
		stop := inject(t, p, row.rules...)
		if status := p.signUp(t, "anna"); status != 503 || readFile(t, p.users) != before {
			t.Errorf("%s: sign-up gets %d, and the file is\n%s", row.what, status, readFile(t, p.users))
		}
		p.me(t, token).contains(t, 200, `"enrico"`)
		p.login(t, "anna", "plaintextpassword").contains(t, 401, `"Invalid credentials"`)
		stop()
		if !strings.Contains(p.log.String(), row.reason) {
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
	stop := inject(t, p, "-e", "inject=/^rename:error=EACCES:when=1")
	if status := p.signUp(t, "berta"); status != 201 {
		t.Errorf("a rename that is refused once: %d\n%s", status, p.log)
	}
	stop()

	// While the disk takes its time, nobody but the sign-up waits for it, and an edit made meanwhile is not lost.
	stop = inject(t, p, "-e", "inject=fsync:delay_enter=700000")
	signedUp := make(chan int)
	go func() { signedUp <- p.signUp(t, "carla") }()
	await(t, "a temporary file", func() bool {
		found, _ := filepath.Glob(filepath.Join(folder, ".users.json.tmp*"))
		return len(found) > 0
	})
	for range 20 {
		p.me(t, token).contains(t, 200, `"enrico@example.com"`)
		p.login(t, "enrico", "plaintextpassword").contains(t, 200, `"user_id":1`)
	}
	p.login(t, "carla", "plaintextpassword").contains(t, 401, `"Invalid credentials"`) // not durable, not there
	select {
	case status := <-signedUp:
		t.Fatalf("the sign-up did not wait for the disk: %d", status)
	default:
	}
	writeFile(t, p.users, strings.Replace(readFile(t, p.users), "enrico@example.com", "edited@example.com", 1))
	if status := <-signedUp; status != 201 {
		t.Errorf("a sign-up beside an edit: %d\n%s", status, p.log)
	}
	stop()
	if text := readFile(t, p.users); !strings.Contains(text, "edited@example.com") || !strings.Contains(text, "carla") {
		t.Errorf("the edit or the sign-up is lost:\n%s", text)
	}
	p.me(t, token).contains(t, 200, `"edited@example.com"`)
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
		{[]string{"serve"}, "", "there are flags only"},
		{[]string{"-cost", "3"}, "", "-cost must be 4 to 16"},
		{[]string{"-cost", "17"}, "", "-cost must be 4 to 16"},
		{[]string{"-cost", "x"}, "", "invalid value"},
		{[]string{"-addr", "8000"}, "", "-addr must be host:port, such as 127.0.0.1:8000"},
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
	const noSecret, lowCost, inTheClear = "AUTH_SECRET is not set", "hashed too fast", "in the clear"
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
		`level=DEBUG msg="ran bcrypt" cost=4 took=\S+s\n`,
		`level=DEBUG msg="saved the users file" bytes=160 took=\S+s\n`,
		`level=INFO msg=request method=POST path=/auth/signup status=201 `,
		`level=DEBUG msg="looked up the user" known=true user_id=1\n`,
		`level=DEBUG msg="ran bcrypt" cost=4 took=\S+s\n`,
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
	if cap(newService(t).server.slots) != processors || runtime.GOMAXPROCS(0) != processors+1 {
		t.Errorf("%d slots, %d P for %d processors", cap(newService(t).server.slots), runtime.GOMAXPROCS(0), processors)
	}
	s := newService(t)
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
	s.login(t, "enrico", "plaintextpassword").contains(t, 200, `"Login successful"`) // the 102 above are no failures of enrico's
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
				io.Copy(io.Discard, conn) // until the service closes
				close(ended)
			}()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for drips := 0; ; drips++ {
				select {
				case <-ended:
					if drips > 200 {
						t.Errorf("%.20q was let drip", text)
					}
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
		t.Fatal(err)
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

// inject lets strace interfere with a running program by the given rules, until the returned function is called.
func inject(t *testing.T, p *program, rules ...string) (stop func()) {
	t.Helper()
	strace := exec.Command(need(t, "strace"), append([]string{"-f", "-o", "/dev/null", "-p", strconv.Itoa(p.cmd.Process.Pid)}, rules...)...)
	said := &output{}
	strace.Stderr = said
	if err := strace.Start(); err != nil {
		t.Fatal(err)
	}
	if !said.await("attached") {
		t.Fatal(said)
	}
	return func() {
		strace.Process.Signal(os.Interrupt)
		strace.Wait()
	}
}

// await waits until something is so.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain for ", what)
		}
	}
}
