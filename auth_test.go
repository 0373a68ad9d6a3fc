package main

// The tests use authflow as people do: over HTTP, through the users file, and as a program. Each
// test shows a promise. If a change breaks it, the failure begins with that promise. Below it stands
// what was sent, what came and what was wanted.
//
// Which test shows which promise?
//
//	the lesson      its requests and answers: TestLesson
//	                what is stored: TestFileHasHash, TestClientChoosesNoID, TestOneNameOneUser
//	                unusual, and right: TestSignups, TestLogins
//	                wrong: TestWrongLogins, TestAuthorization
//	a request       all faults at once, no echo: TestSignupFaults, TestLoginFaults
//	                no credentials in the URL: TestQueryString
//	an answer       JSON, for 404 and 405 too: TestPaths, TestHealth, TestRedirects
//	                415, 413 and 400: TestContentTypes, TestBodies
//	                a route of your own, and its bugs: TestOwnRoute, TestPanics
//	                other origins: TestPreflights, TestAllowedOrigin, TestOtherOrigins, TestNoOrigins
//	tokens          as every library makes them: TestRFC7515, TestToken
//	                forged, expired, void: TestForgedTokens, TestChangedTokens, TestTokenTime,
//	                TestVoidTokens, TestGivenAwayID
//	passwords       the same work for every try: TestSameWork
//	                they count to the last byte: TestLongPasswords, TestBcryptError
//	the users file  always whole, and 201 means stored: TestWhole, TestCrash, TestFullDisk,
//	                TestSystemCalls, TestFailingDisk
//	                an edit is seen, and kept: TestEdits, TestStamps, TestSnapshot, TestHandWritten
//	                an edit with a fault: TestBrokenEdits, TestCutFile, TestLastOfMany, TestGone
//	                an edit during a save: TestEditDuringSave
//	                modes and links: TestModes, TestLinks, TestNoUsersFile
//	                nobody waits for the disk, or races: TestSlowDisk, TestBeside
//	the program     flags: TestUsage, TestRightUsage, TestDefaults, TestSecret,
//	                TestRandomSecret
//	                start and end: TestCannotServe, TestStart, TestReadableFile, TestTLS, TestStop
//	                the source: TestDependencies, TestCallsRunDown, TestHints
//	the log         one plain line for each request: TestLog, TestSteps
//	                each refusal has its line: TestRefusalsHaveLines, TestLateRefusalsHaveLines
//	load, attack    waiting in a line: TestLines, TestPatience
//	                guessing: TestThrottle, TestThrottleEnds, TestThrottleKeys,
//	                TestThrottleUnknown, TestThrottleBelievesNoHeader, TestThrottleMemory,
//	                TestFaultsAreNoFailures, TestTogether
//	                slow and large: TestSlowClients, TestLargeHeaders
//	the documents   TestManual, TestOpenAPI, TestDocumentSize, TestREADME
//	the page        TestPage, with a part for each promise; TestPagePolicy
//
// is, contains, header, faults and protects check an answer. signUpAs and tokenFor end the test if
// they fail. newService starts the real handler in this process, with bcrypt's lowest cost and no users.
// serveWithRoutes adds routes to it. newGuesser has no network, and a clock that the test sets.
// start runs the built program, and launch runs one that may end at once. The helpers are at the end.

import (
	"bufio"
	"bytes"
	"cmp"
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
	"go/parser"
	"go/token"
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

// What goes over the wire, written by hand. A name that changes in the sources fails here.
const (
	asJSON = "application/json"
	asForm = "application/x-www-form-urlencoded"

	password     = "plaintextpassword"
	lessonSignup = `{"username":"enrico","email":"enrico@example.com","hashed_password":"plaintextpassword"}`

	userCreated = `{"message":"User created","user_id":1}`
	loggedIn    = `{"message":"Login successful","user_id":1,"access_token":"…",` +
		`"token_type":"bearer","expires_in":3600}`
	enrico       = `{"id":1,"username":"enrico","email":"enrico@example.com","is_active":true}`
	userExists   = `{"detail":"Username already exists"}`
	wrongLogin   = `{"detail":"Invalid credentials","error":"invalid_grant"}`
	noToken      = `{"detail":"Not authenticated"}`
	wrongToken   = `{"detail":"Could not validate credentials"}`
	tooManyTries = `{"detail":"Too many failed log-ins"}`
	otherOrigin  = `{"detail":"Cross-origin request refused"}`
	brokenBody   = `{"detail":"Body could not be read to its end"}`
	tooLarge     = `{"detail":"Body must be at most 65536 bytes"}`
	notStored    = `{"detail":"Users cannot be stored just now"}`
	tooBusy      = `{"detail":"Too busy just now"}`
	serverError  = `{"detail":"Internal Server Error"}`

	sayWhen = "A 429 or 503 must say when to try again: " +
		"see tooManyFailures and noSlot in auth.go."
	sayHow        = "Each 401 must say how to authenticate (RFC 9110 §15.5.2)."
	askForToken   = `Bearer realm="auth"`
	askForAnother = `Bearer realm="auth", error="invalid_token"`
	equalAnswers  = "A stranger must not learn from an answer who has an account: all wrong " +
		"log-ins get the same."
	refuseTheToken = "A token that we did not sign must not be believed: " +
		"see verifyToken in auth.go."
)

// ---- The lesson ----

// TestLesson signs up, logs in and asks who it is. The answers are the lesson's, word for word.
func TestLesson(t *testing.T) {
	s := newService(t)

	// Sign up. The lesson calls the plain password hashed_password.
	s.postSignup(lessonSignup).is(t, 201, userCreated, "The lesson's sign-up must work.")
	if t.Failed() {
		return // without a user, nothing below can work
	}
	s.postSignup(lessonSignup).is(t, 400, userExists, "A name that is taken must be refused.")

	// Log in.
	s.logInAs("enrico", password).withoutToken().is(t, 200, loggedIn,
		"The right password must log in.")
	s.logInAs("enrico", "wrong").
		is(t, 401, wrongLogin, "A wrong password must be refused: see checkPassword in auth.go.").
		header(t, "WWW-Authenticate", askForToken, sayHow)

	// Who am I?
	s.whoAmI(s.tokenFor(t, "enrico")).is(t, 200, enrico,
		"GET /auth/me must show id, username, email and is_active, and no hash: see me in auth.go.")
}

// TestFileHasHash reads the users file after a sign-up.
func TestFileHasHash(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	text := readFile(t, s.path)

	// One user a line, with the lesson's names, and the hash of the password.
	line := regexp.MustCompile(`^\[
{"id":1,"username":"enrico","email":"enrico@example\.com","hashed_password":"\$2a\$04\$[^"]{53}","is_active":true}
\]
$`)
	check(t, line.MatchString(text),
		"The users file must have one user a line, with the lesson's names and a bcrypt hash.",
		"the file is\n%s\nwant something like\n%s", text, line)
	check(t, !strings.Contains(text, password), "No password may be stored: see signup in auth.go.",
		"the file has the password, want only its hash:\n%s", text)
}

// TestSignups sends sign-ups that are unusual and right. Each is the first one of its service.
func TestSignups(t *testing.T) {
	for _, row := range []struct{ name, signup, login string }{
		// The limits.
		{"the shortest of all",
			`{"username":"x","email":"a@b","password":"eight ch"}`,
			"username=x&password=eight+ch"},
		{"the longest of all",
			signupJSON(strings.Repeat("x", 64), strings.Repeat("x", 242)+"@example.com",
				strings.Repeat("ü", 36)),
			"username=" + strings.Repeat("x", 64) + "&password=" + strings.Repeat("%C3%BC", 36)},

		// Every byte of a password counts.
		{"every kind of character",
			`{"username":"a.b_c-d@z+f","email":"a+b&c=d@example.com","password":" +&=%ü☃ \" "}`,
			"username=A.b_c-d%40Z%2Bf&password=+%2B%26%3D%25%C3%BC%E2%98%83+%22+"},
		{"other alphabets",
			`{"username":"ivan","email":"ünï@exämple.com","password":"пароль-123"}`,
			"username=ivan&password=%D0%BF%D0%B0%D1%80%D0%BE%D0%BB%D1%8C-123"},
		{"an emoji with joiners",
			`{"username":"anna","email":"a@b","password":"👩‍👩‍👧 12345"}`,
			"username=anna&password=" + url.QueryEscape("👩‍👩‍👧 12345")},
		{"a semicolon, sent as it is",
			`{"username":"anna","email":"a@b","password":"plain;password"}`,
			"username=anna&password=plain;password"},

		// The members.
		{"both names of the password",
			`{"username":"anna","email":"a@b","password":"plaintextpasswor\u0064",` +
				`"hashed_password":7}`,
			"username=anna&password=plaintextpassword"},
		{"an unknown member",
			`{"username":"anna","email":"a@b","password":"plaintextpassword","role":"x"}`,
			"username=anna&password=plaintextpassword"},

		// Numbers that are no id.
		{"an id of 2**63",
			`{"username":"a","email":"a@b","password":"plaintextpassword","id":9223372036854775808}`,
			"username=a&password=plaintextpassword"},
		{"an id too large for any number",
			`{"username":"anna","email":"a@b","password":"plaintextpassword","id":1e999}`,
			"username=anna&password=plaintextpassword"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newService(t)
			s.postSignup(row.signup).is(t, 201, userCreated,
				"This sign-up is right: see parseSignup in auth.go.")

			// Without a user, no log-in can work.
			if t.Failed() {
				return
			}
			s.postLogin(row.login).withoutToken().is(t, 200, loggedIn,
				"What signs up must log in: every byte of a password counts.")
		})
	}
}

// TestClientChoosesNoID sends a sign-up that sets members which are ours to choose.
func TestClientChoosesNoID(t *testing.T) {
	s := newService(t)
	const promise = "No client may choose its id or is_active: see signupRequest in auth.go."
	s.postSignup(`{"username":"anna","email":"a@b","password":"plaintextpassword",`+
		`"id":77,"is_active":false}`).
		is(t, 201, userCreated, promise)

	// The file shows what was stored.
	text := readFile(t, s.path)
	for _, part := range []string{`{"id":1,"username":"anna",`, `"is_active":true}`} {
		check(t, strings.Contains(text, part), promise,
			"the users file is\n%s\nwant %s", text, part)
	}
}

// TestOneNameOneUser signs up beside enrico.
func TestOneNameOneUser(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")

	s.postSignup(signupJSON("EnRiCo", "x@example.com", "other-password")).is(t, 400, userExists,
		"EnRiCo and enrico must be one name.")
	s.postSignup(signupJSON("anna", "enrico@example.com", password)).
		is(t, 201, `{"message":"User created","user_id":2}`,
			"Two users may have the same e-mail address.")
}

// TestLogins logs in as enrico, in all forms that OAuth 2 allows.
func TestLogins(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")

	for _, row := range []struct{ name, form string }{
		{"only what is needed", "username=enrico&password=plaintextpassword"},
		{"the name in other letters", "username=ENRICO&password=plaintextpassword"},
		{"an empty grant_type", "grant_type=&username=enrico&password=plaintextpassword"},
		{"unknown parameters, repeated", "username=enrico&password=plaintextpassword&foo=1&foo=2"},
		{"all of OAuth's parameters",
			"grant_type=password&username=enrico&password=plaintextpassword" +
				"&scope=a+b&client_id=c&client_secret=d"},
	} {
		t.Run(row.name, func(t *testing.T) {
			// The Authorization header names a client of OAuth 2.
			a := s.send("POST", "/auth/login", row.form, "Content-Type", asForm,
				"Authorization", "Basic Y2xpZW50OnNlY3JldA==")
			a.withoutToken().is(t, 200, loggedIn,
				"OAuth 2's parameters, and a client that names itself, must not disturb a log-in.")
		})
	}
}

// TestWrongLogins logs in with names and passwords that are nearly right.
func TestWrongLogins(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	s.signUpAs(t, "kelvin")
	s.postSignup(signupJSON("blank", "a@b", " password ")).is(t, 201,
		`{"message":"User created","user_id":3}`, "A password may begin with a blank.")

	for _, row := range []struct{ name, form string }{
		{"a wrong password", "username=enrico&password=wrong"},
		{"an unknown user", "username=nobody&password=plaintextpassword"},

		// What is nearly right.
		{"the password in other letters", "username=enrico&password=PlaintextPassword"},
		{"the password without its blanks", "username=blank&password=password"},
		{"the name with a blank", "username=enrico+&password=plaintextpassword"},
		{"a Turkish dotted I", "username=enr%C4%B0co&password=plaintextpassword"},
		{"the Kelvin sign for a K", "username=%E2%84%AAelvin&password=plaintextpassword"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.postLogin(row.form).is(t, 401, wrongLogin,
				"What is nearly right must not log in, and all wrong log-ins get the same answer: "+
					"see fold in store.go.").
				header(t, "WWW-Authenticate", askForToken, sayHow)
		})
	}
}

// TestAuthorization asks who am I with several Authorization headers.
func TestAuthorization(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	good := s.tokenFor(t, "enrico")

	for _, row := range []struct{ name, header string }{
		{"as always", "Bearer " + good},
		{"other letters, more blanks", "bEARER   " + good},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.send("GET", "/auth/me", "", "Authorization", row.header).
				contains(t, 200, `"username":"enrico"`,
					"Bearer may be written in any letter case (RFC 9110 §11.1).")
		})
	}

	for _, row := range []struct{ name, header string }{
		{"no header", ""},
		{"another scheme", "Basic " + good},
		{"a token without scheme", good},
		{"a scheme without token", "Bearer "},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.send("GET", "/auth/me", "", "Authorization", row.header).
				is(t, 401, noToken, "Who sends no token must get 401: see requireUser in auth.go.").
				header(t, "WWW-Authenticate", askForToken,
					"If no token came, none is called invalid.")
		})
	}
}

// ---- What a request may send ----

// TestSignupFaults sends sign-ups with faults. The answer has the type and the place of each.
func TestSignupFaults(t *testing.T) {
	const mail = "enrico@example.com"
	for _, row := range []struct {
		name, body string
		want       []string
	}{
		// No JSON object.
		{"no body", ``, []string{"missing body"}},
		{"an array", `[]`, []string{"model_attributes_type body"}},
		{"null", `null`, []string{"model_attributes_type body"}},
		{"no JSON", `username=enrico`, []string{"json_invalid body.0"}},
		{"a second document", lessonSignup + ` {}`, []string{"json_invalid body.89"}},
		{"too deep", `{"a":` + strings.Repeat("[", 10_001), []string{"json_invalid body.10004"}},
		{"invalid UTF-8", `{"username":"enrico` + "\xff" + `"}`, []string{"json_invalid body"}},

		// All members at once.
		{"other types",
			`{"username":7,"email":true,"password":null}`,
			[]string{"string_type body.username", "string_type body.email",
				"string_type body.password"}},

		// Go's own decoder would take these.
		{"members in other letters",
			`{"Username":"enrico","EMAIL":"enrico@example.com","Password":"plaintextpassword"}`,
			[]string{"missing body.username", "missing body.email", "missing body.password"}},
		{"all empty",
			signupJSON("", "", ""),
			[]string{"string_too_short body.username", "value_error body.email",
				"string_too_short body.password"}},

		// The name.
		{"a blank name",
			signupJSON(" ", mail, password),
			[]string{"string_pattern_mismatch body.username"}},
		{"a name with an accent",
			signupJSON("renée", mail, password),
			[]string{"string_pattern_mismatch body.username"}},
		{"a name of 65 characters",
			signupJSON(strings.Repeat("x", 65), mail, password),
			[]string{"string_too_long body.username"}},
		{"a name of 65 characters, one of them wrong",
			signupJSON(strings.Repeat("x", 64)+"!", mail, password),
			[]string{"string_too_long body.username", "string_pattern_mismatch body.username"}},

		// The e-mail address.
		{"a display name",
			signupJSON("enrico", "Enrico <enrico@example.com>", password),
			[]string{"value_error body.email"}},
		{"an e-mail of 255 characters",
			signupJSON("enrico", strings.Repeat("x", 243)+"@example.com", password),
			[]string{"string_too_long body.email"}},

		// The password.
		{"a password of 7",
			signupJSON("enrico", mail, "sevench"),
			[]string{"string_too_short body.password"}},
		{"a password of 73 bytes",
			signupJSON("enrico", mail, "x"+strings.Repeat("ü", 36)),
			[]string{"string_too_long body.password"}},
		{"a short password with NUL",
			signupJSON("enrico", mail, "a\x00"),
			[]string{"string_too_short body.password", "value_error body.password"}},

		// The lesson's name of the password.
		{"the lesson's name, too short",
			`{"username":"enrico","email":"enrico@example.com","hashed_password":"short"}`,
			[]string{"string_too_short body.hashed_password"}},
		{"both names, password a number",
			`{"username":"enrico","email":"a@b","hashed_password":"plain-one","password":7}`,
			[]string{"string_type body.password"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newService(t)
			a := s.postSignup(row.body)
			a.faults(t, row.want, "A sign-up must be told all its faults at once, as FastAPI does: "+
				"see parseSignup in auth.go.")

			// The answer repeats nothing: it could be a password.
			a.containsNot(t, "enrico", "An error must not repeat what was sent.")
			a.containsNot(t, "plain", "An error must not repeat what was sent.")

			_, err := os.Stat(s.path)
			check(t, errors.Is(err, fs.ErrNotExist),
				"A sign-up that is refused must change nothing.",
				"there is a users file, want none")
		})
	}
}

// TestLoginFaults sends forms with faults. The answer also has OAuth 2's name for the error.
func TestLoginFaults(t *testing.T) {
	s := newService(t)
	for _, row := range []struct {
		name, form string
		want       []string
		oauth      string
	}{
		// What a log-in needs.
		{"no body",
			``,
			[]string{"missing body.username", "missing body.password"}, "invalid_request"},
		{"empty values",
			`username=&password=`,
			[]string{"missing body.username", "missing body.password"}, "invalid_request"},
		{"wrong %-encoding",
			`username=%zz&password=x`,
			[]string{"missing body.username"}, "invalid_request"},

		// OAuth 2 has other grants than the password.
		{"another grant",
			`grant_type=enrico&username=enrico`,
			[]string{"missing body.password", "string_pattern_mismatch body.grant_type"},
			"unsupported_grant_type"},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := s.postLogin(row.form)
			a.faults(t, row.want, "A log-in must be told all its faults at once, as FastAPI does: "+
				"see parseLogin in auth.go.")
			a.contains(t, 422, `],"error":"`+row.oauth+`"}`,
				"OAuth 2 names this error (RFC 6749 §5.2).")
			a.containsNot(t, "enrico", "An error must not repeat what was sent.")
		})
	}
}

// TestQueryString logs in through the URL.
func TestQueryString(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	const path = "/auth/login?username=enrico&password=plaintextpassword"
	s.send("POST", path, "", "Content-Type", asForm).
		faults(t, []string{"missing body.username", "missing body.password"},
			"Credentials in a URL must not count: URLs end up in logs.")
}

// ---- Requests and answers ----

// TestPaths sends requests that no handler answers.
func TestPaths(t *testing.T) {
	s := newService(t)
	const notFound, notAllowed = `{"detail":"Not Found"}`, `{"detail":"Method Not Allowed"}`

	for _, row := range []struct {
		request string
		status  int
		body    string
		allow   string // the methods that the path has
	}{
		// There are no such paths.
		{"GET /nosuch", 404, notFound, ""},
		{"POST /nosuch", 404, notFound, ""},
		{"GET /auth/", 404, notFound, ""},
		{"GET /auth/me/", 404, notFound, ""},

		// These paths exist, but not with this method.
		{"GET /auth/signup", 405, notAllowed, "POST"},
		{"DELETE /auth/login", 405, notAllowed, "POST"},
		{"OPTIONS /auth/login", 405, notAllowed, "POST"},
		{"HEAD /auth/login", 405, "", "POST"},

		// These have GET, and so HEAD too.
		{"POST /auth/me", 405, notAllowed, "GET, HEAD"},
		{"PATCH /healthz", 405, notAllowed, "GET, HEAD"},
		{"BREW /docs", 405, notAllowed, "GET, HEAD"},
		{"PUT /", 405, notAllowed, "GET, HEAD"},
	} {
		t.Run(row.request, func(t *testing.T) {
			const promise = "404 and 405 must be JSON, and 405 must say which methods work: " +
				"see noRoute in main.go."
			a := s.raw(t, row.request, "").is(t, row.status, row.body, promise)
			a.header(t, "Allow", row.allow, promise)
			a.protects(t)
		})
	}
}

// TestHealth asks whether the service runs.
func TestHealth(t *testing.T) {
	s := newService(t)
	s.raw(t, "GET /healthz", "").
		is(t, 200, `{"status":"ok"}`, "GET /healthz must say ok while the process serves.").
		header(t, "Cache-Control", "no-store", "No browser may keep an answer.")
	s.raw(t, "HEAD /healthz", "").is(t, 200, "", "HEAD must answer as GET does, without the body.")

	// The users file is broken: the process serves all the same.
	edit(t, s.path, "half of a fi")
	s.send("GET", "/healthz", "").is(t, 200, `{"status":"ok"}`,
		"GET /healthz must say ok whatever the state of the users file.")
}

// TestRedirects opens the service as people do, and with paths that the mux cleans.
func TestRedirects(t *testing.T) {
	s := newService(t)
	for _, row := range []struct{ path, location string }{
		{"/", "/docs"},
		{"//nosuch", "/nosuch"},
		{"//auth/../healthz?x=1", "/healthz?x=1"},
	} {
		t.Run(row.path, func(t *testing.T) {
			const promise = "The first page is /docs, and a path that isn't clean leads to the " +
				"clean one."
			s.raw(t, "GET "+row.path, "").
				contains(t, 307, "Temporary Redirect</a>", promise).
				header(t, "Location", row.location, promise).
				header(t, "Content-Type", "text/html; charset=utf-8", promise)
		})
	}
}

// TestContentTypes sends bodies of other types than JSON and forms.
func TestContentTypes(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	const jsonOnly = `{"detail":"Content-Type must be application/json"}`
	const formOnly = `{"detail":"Content-Type must be application/x-www-form-urlencoded"}`

	for _, row := range []struct {
		name, path, contentType string
		status                  int
		want                    string
	}{
		// Sign-up takes JSON.
		{"no type", "/auth/signup", "", 415, jsonOnly},
		{"a form", "/auth/signup", asForm, 415, jsonOnly},
		{"text", "/auth/signup", "text/plain", 415, jsonOnly},
		{"with parameters", "/auth/signup", "Application/JSON; charset=UTF-8", 400, userExists},

		// Log-in takes a form.
		{"JSON for a log-in", "/auth/login", asJSON, 415, formOnly},
		{"multipart", "/auth/login", "multipart/form-data; boundary=x", 415, formOnly},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.send("POST", row.path, lessonSignup, "Content-Type", row.contentType).
				is(t, row.status, row.want,
					"A wrong Content-Type must get 415, with the right one.").
				protects(t)
		})
	}
}

// TestBodies sends bodies that are large, or that end before they should.
func TestBodies(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	const signup = "POST /auth/signup\r\nContent-Type: application/json"
	const login = "POST /auth/login\r\nContent-Type: application/x-www-form-urlencoded"

	for _, row := range []struct {
		name, request, body string
		status              int
		want                string
	}{
		// The limit.
		{"the largest that is allowed",
			signup,
			strings.Repeat(" ", 65536-len(lessonSignup)) + lessonSignup,
			400, userExists},
		{"one byte more",
			signup,
			strings.Repeat(" ", 65537-len(lessonSignup)) + lessonSignup,
			413, tooLarge},

		// Two ways to send more.
		{"too large, in chunks",
			login + "\r\nTransfer-Encoding: chunked",
			"10001\r\n" + strings.Repeat("x", 0x10001) + "\r\n0\r\n\r\n",
			413, tooLarge},
		{"too large, where nobody reads it",
			"GET /healthz\r\nContent-Length: 65537",
			"",
			200, `{"status":"ok"}`},

		// A body without its end.
		{"a broken chunk",
			login + "\r\nTransfer-Encoding: chunked",
			"zz\r\n",
			400, brokenBody},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.raw(t, row.request, row.body).
				is(t, row.status, row.want,
					"Sign-up and log-in must read at most 64 KiB: see readBody in auth.go.").
				protects(t)
		})
	}
}

// serveWithRoutes serves authflow with more routes. A program that grows adds them to routes.
func serveWithRoutes(t *testing.T, s *service, add func(mux *http.ServeMux)) *service {
	t.Helper()
	log := newTestLogger(s.log)
	mux := routes(s.server)
	add(mux)

	// The chain is that of newHandler.
	handler := logRequests(log, answerPanics(setHeaders(
		allowOrigins(nil, refuseOtherOrigins(nil, mux)))))
	return &service{api{serveOn(t, handler), s.path, s.log}, s.server}
}

// TestOwnRoute adds a route. All that the other routes have comes by itself.
func TestOwnRoute(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	token := s.tokenFor(t, "enrico")

	// These are the lines of a student.
	notes := func(w http.ResponseWriter, r *http.Request, u *user) error {
		if r.PathValue("id") != "7" {
			return refuse(http.StatusNotFound, "No such note")
		}
		note := map[string]string{"id": r.PathValue("id"), "of": u.Username}
		return writeJSON(w, http.StatusOK, note)
	}
	s = serveWithRoutes(t, s, func(mux *http.ServeMux) {
		mux.Handle("GET /own/{id}", s.server.requireUser(notes))
	})

	// The handler gets {id} and the user, and its error is JSON.
	const promise = "A route more must be one line in routes: PathValue, errors, 405 and the log " +
		"come by themselves."
	s.send("GET", "/own/7", "", "Authorization", "Bearer "+token).
		is(t, 200, `{"id":"7","of":"enrico"}`, promise).
		header(t, "Cache-Control", "no-store",
			"An answer for one user must not be kept: see setHeaders in main.go.")
	s.send("GET", "/own/8", "", "Authorization", "Bearer "+token).
		is(t, 404, `{"detail":"No such note"}`, promise).protects(t)
	s.logged(t, "method=GET path=/own/8 status=404", promise)

	// Who sends no token is refused, and so are other methods and other origins.
	s.send("GET", "/own/7", "").is(t, 401, noToken, promise)
	s.send("POST", "/own/7", "").
		is(t, 405, `{"detail":"Method Not Allowed"}`, promise).
		header(t, "Allow", "GET, HEAD", promise)
	s.send("POST", "/own/7", "", "Sec-Fetch-Site", "cross-site").is(t, 403, otherOrigin, promise)
}

// TestPanics adds routes with bugs.
func TestPanics(t *testing.T) {
	s := serveWithRoutes(t, newService(t), func(mux *http.ServeMux) {
		// Before the answer has begun.
		mux.HandleFunc("GET /panic", func(w http.ResponseWriter, r *http.Request) {
			panic("a bug")
		})
		mux.Handle("GET /error", apiHandler(func(w http.ResponseWriter, r *http.Request) error {
			return errors.New("a bug that is an error")
		}))

		// After that.
		mux.HandleFunc("GET /half", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "half of an answer")
			http.NewResponseController(w).Flush()
			panic("a late bug")
		})
		mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(201)
			w.WriteHeader(202) // is ignored
			panic("a bug after the status")
		})
	})

	// The client gets 500 in JSON. The log gets the cause.
	const promise = "A handler that panics must answer 500 in JSON, and the log must show where: " +
		"see answerPanics in main.go."
	s.send("GET", "/panic", "").
		is(t, 500, serverError, promise).
		header(t, "Content-Type", asJSON, promise)
	s.logged(t, "reason=\"panic: a bug\\n", promise)
	s.logged(t, "auth_test.go:", promise)
	s.logged(t, "method=GET path=/panic status=500", promise)

	s.send("GET", "/error", "").
		is(t, 500, serverError,
			"An error that is no answer must be a 500, and the client isn't told more.")
	s.logged(t, `level=ERROR msg="refused the request" req=2 status=500 `+
		`detail="Internal Server Error" reason="a bug that is an error"`,
		"An error that is no answer must be in the log.")

	// The client has half of an answer. It must see that the other half is missing.
	const cut = "An answer that has begun must be cut off: nothing comes after it, and the log " +
		"has its line."
	conn := dial(t, s.url, "GET /half HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	text, _ := io.ReadAll(conn)
	check(t, strings.HasSuffix(string(text), "half of an answer\r\n"), cut,
		"GET /half came as\n%s\nwant its end after half of an answer", text)
	s.logged(t, `msg="the answer was cut off" req=3`, cut)
	s.logged(t, "msg=request req=3 method=GET path=/half status=200", cut)

	conn = dial(t, s.url, "GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	text, _ = io.ReadAll(conn)
	check(t, !strings.Contains(string(text), "Internal Server Error"), cut,
		"GET /status came as\n%s\nwant no second answer", text)
	s.logged(t, "msg=request req=4 method=GET path=/status status=201", cut)
	same(t, "lines about a cut answer", strings.Count(s.log.String(), "the answer was cut off"), 2,
		"Each answer that is cut off must be logged once.")
}

// TestPreflights asks as a browser does: may a page of that origin send this request?
func TestPreflights(t *testing.T) {
	const front, other = "http://localhost:5173", "http://localhost:5174"
	s := newService(t, "https://front.example", front)
	preflight := func(path, origin string) answer {
		return s.send("OPTIONS", path, "",
			"Origin", origin, "Access-Control-Request-Method", "POST")
	}

	for _, path := range []string{"/auth/signup", "/auth/me", "/nosuch"} {
		const promise = "A page of an origin that -allow-origin names may use the API: " +
			"see allowOrigins in main.go."
		preflight(path, front).is(t, 204, "", promise).
			header(t, "Access-Control-Allow-Origin", front, promise).
			header(t, "Access-Control-Allow-Methods", "GET, POST", promise).
			header(t, "Access-Control-Allow-Headers", "Authorization, Content-Type", promise)
	}

	const promise = "The preflight of another origin must be refused: see allowOrigins in main.go."
	preflight("/auth/me", other).is(t, 405, `{"detail":"Method Not Allowed"}`, promise).
		header(t, "Access-Control-Allow-Origin", "", promise).
		header(t, "Access-Control-Allow-Methods", "", promise)
}

// TestAllowedOrigin sends requests as a page of an allowed origin does.
func TestAllowedOrigin(t *testing.T) {
	const front = "http://localhost:5173"
	s := newService(t, "https://front.example", front)

	for _, row := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"a sign-up", "POST", "/auth/signup", lessonSignup, 201},
		{"a refusal", "POST", "/auth/signup", "{}", 422},
		{"no token", "GET", "/auth/me", "", 401},
		{"a wrong Content-Type", "POST", "/auth/login", "", 415},
		{"no such path", "GET", "/nosuch", "", 404},
	} {
		t.Run(row.name, func(t *testing.T) {
			// As browsers do it, with the headers that say where the request comes from.
			const promise = "A page of an allowed origin must be able to read each answer: " +
				"see allowOrigins in main.go."
			a := s.send(row.method, row.path, row.body, "Content-Type", asJSON,
				"Origin", front, "Sec-Fetch-Site", "cross-site")
			a.contains(t, row.status, "{", promise).
				header(t, "Access-Control-Allow-Origin", front, promise).
				header(t, "Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate",
					promise).
				header(t, "Vary", "Origin",
					"A cache must not give the answer for one origin to another.").
				header(t, "Access-Control-Allow-Credentials", "", "There are no cookies to allow.")
		})
	}
}

// TestOtherOrigins sends requests as pages of other origins do, beside an allowed one.
func TestOtherOrigins(t *testing.T) {
	const front = "http://localhost:5173"
	s := newService(t, front)

	for _, origin := range []string{
		"http://localhost:5174", "https://localhost:5173", "HTTP://LOCALHOST:5173",
		"http://localhost:5173.evil.example", "null", "",
	} {
		t.Run("origin "+origin, func(t *testing.T) {
			// As browsers do it, with the headers that say where the request comes from.
			const promise = "Only the origins that -allow-origin names may call the API: " +
				"see allowOrigins and refuseOtherOrigins in main.go."
			s.send("POST", "/auth/signup", lessonSignup, "Content-Type", asJSON,
				"Origin", origin, "Sec-Fetch-Site", "cross-site").
				is(t, 403, otherOrigin, promise).
				header(t, "Access-Control-Allow-Origin", "", promise).
				header(t, "Vary", "Origin",
					"A cache must not give the answer for one origin to another.")
			s.send("GET", "/healthz", "", "Origin", origin, "Sec-Fetch-Site", "cross-site").
				is(t, 200, `{"status":"ok"}`, "A GET changes nothing, so it passes.").
				header(t, "Access-Control-Allow-Origin", "", promise)
		})
	}
}

// TestNoOrigins has no -allow-origin.
func TestNoOrigins(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	const signup = "POST /auth/signup\r\nContent-Type: application/json"

	for _, row := range []struct {
		name, request string
		status        int
		want          string
	}{
		{"another origin", signup + "\r\nOrigin: http://evil.example", 403, otherOrigin},
		{"the same site", signup + "\r\nSec-Fetch-Site: same-site", 403, otherOrigin},
		{"the same origin", signup + "\r\nSec-Fetch-Site: same-origin", 400, userExists},
		{"the same origin, an old browser", signup + "\r\nOrigin: http://x", 400, userExists},
		{"no browser", signup, 400, userExists},
		{"a GET", "GET /auth/me\r\nOrigin: http://evil.example", 401, noToken},
	} {
		t.Run(row.name, func(t *testing.T) {
			// The request has come to the host x.
			s.raw(t, row.request, lessonSignup).
				is(t, row.status, row.want,
					"A page of another origin must not sign its visitor up: "+
						"see refuseOtherOrigins in main.go.").
				protects(t)
		})
	}
}

// ---- Tokens ----

// TestRFC7515 signs the example of RFC 7515, appendix A.1.
func TestRFC7515(t *testing.T) {
	key, err := base64.RawURLEncoding.DecodeString(
		"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	must(t, err)
	const unsigned = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0" +
		"cnVlfQ"

	same(t, "the signature of RFC 7515's example", signature(key, unsigned),
		"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		"The signature must be HMAC-SHA256, as in the RFC.")
}

// signJWT makes a token as every JWT library does.
func signJWT(header, payload, key string) string {
	return signText(encode(header)+"."+encode(payload), key)
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func signText(unsigned, key string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(unsigned))
	return unsigned + "." + encode(string(mac.Sum(nil)))
}

// payloadOf returns the second part of a token, decoded.
func payloadOf(t testing.TB, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("The token %s has %d parts, want 3.", token, len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatalf("The payload %s can't be decoded: %v", parts[1], err)
	}
	return string(payload)
}

// TestToken takes a token apart, and makes the same one as a library would.
func TestToken(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	token := s.tokenFor(t, "enrico")
	payload := payloadOf(t, token)

	shape := regexp.MustCompile(`^{"sub":"1","iat":\d{10},"exp":\d{10},"pwd":"[\w-]{11}"}$`)
	check(t, shape.MatchString(payload), "A token must have sub, iat, exp and the fingerprint pwd.",
		"the payload is %s\nwant something like %s", payload, shape)
	same(t, "the token", token, signJWT(`{"alg":"HS256","typ":"JWT"}`, payload, "the key"),
		"A JWT library that has the secret must make the same token.")
}

// TestForgedTokens forges tokens. In most rows the key is ours, so only the check of a row helps.
func TestForgedTokens(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	good := s.tokenFor(t, "enrico")
	payload := payloadOf(t, good)
	parts := strings.Split(good, ".")

	const key, header = "the key", `{"alg":"HS256","typ":"JWT"}`
	withoutExp := regexp.MustCompile(`"exp":\d+,`).ReplaceAllString(payload, "")

	// with adds a claim to the payload: the last one of a name counts.
	with := func(claim string) string {
		return signJWT(header, strings.TrimSuffix(payload, "}")+","+claim+"}", key)
	}

	const ourHeader = "The token must not choose how it is checked: see verifyToken in auth.go."
	const claims = "A token must have an exp, and the id and the fingerprint of its user: " +
		"see verifyToken and userOf in auth.go."
	for _, row := range []struct{ name, token, promise string }{
		// Another header. These are signed with our key.
		{"alg none", signJWT(`{"alg":"none"}`, payload, key), ourHeader},
		{"alg hs256", signJWT(`{"alg":"hs256"}`, payload, key), ourHeader},
		{"alg missing", signJWT(`{"typ":"JWT"}`, payload, key), ourHeader},
		{"other order", signJWT(`{"typ":"JWT","alg":"HS256"}`, payload, key), ourHeader},
		{"crit", signJWT(`{"alg":"HS256","crit":["b64"],"b64":false}`, payload, key), ourHeader},

		// Another signature.
		{"alg none, not signed", encode(`{"alg":"none"}`) + "." + parts[1] + ".", refuseTheToken},
		{"not signed", parts[0] + "." + parts[1] + ".", refuseTheToken},
		{"an empty key", signJWT(header, payload, ""), refuseTheToken},
		{"another key", signJWT(header, payload, "the keY"), refuseTheToken},
		{"two parts", parts[0] + "." + parts[1], refuseTheToken},
		{"two parts, signed", signText(parts[1], key), refuseTheToken},
		{"four parts", good + "." + parts[2], refuseTheToken},
		{"padding", good + "=", refuseTheToken},
		{"another spelling", otherSpelling(t, good), refuseTheToken},

		// Other claims. These are signed with our key too.
		{"no exp", signJWT(header, withoutExp, key), claims},
		{"exp a string", with(`"exp":"9999999999"`), claims},
		{"sub of nobody", with(`"sub":"2"`), claims},
		{"sub a number", with(`"sub":1`), claims},
		{"sub out of range", with(`"sub":"9223372036854775808"`), claims},
		{"another fingerprint", with(`"pwd":"AAAAAAAAAAA"`), claims},
		{"payload not base64", signText(parts[0]+".!", key), claims},
		{"payload not JSON", signJWT(header, "sub=1", key), claims},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.whoAmI(row.token).is(t, 401, wrongToken, row.promise).
				header(t, "WWW-Authenticate", askForAnother, "RFC 6750 §3.1 names this error.")
		})
	}

	// These are no forgeries.
	s.whoAmI(good).contains(t, 200, `"username":"enrico"`, "A good token must be accepted.")
	s.whoAmI(with(`"role":"x"`)).contains(t, 200, `"username":"enrico"`,
		"A claim that we don't know must be ignored.")
}

// otherSpelling sets an unused bit of the last character. The bytes that are decoded stay the same.
func otherSpelling(t *testing.T, token string) string {
	t.Helper()
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(token) - 1
	index := strings.IndexByte(alphabet, token[last])
	if index < 0 {
		t.Fatalf("A token must end with a character of base64url.\ncame: %s", token)
	}
	return token[:last] + string(alphabet[index^1])
}

// TestChangedTokens changes each character of a token.
func TestChangedTokens(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	good := s.tokenFor(t, "enrico")

	for i := range len(good) {
		changed := good[:i] + string(good[i]^1) + good[i+1:]
		s.whoAmI(changed).is(t, 401, wrongToken, refuseTheToken)
		if t.Failed() {
			return // the others would say the same
		}
	}
}

// TestTokenTime looks at a token at its last second, and after it.
func TestTokenTime(t *testing.T) {
	s := newService(t)
	now := time.Unix(1_800_000_000, 999_000_000)
	s.server.now = func() time.Time { return now }
	s.signUpAs(t, "enrico")
	token := s.tokenFor(t, "enrico")

	payload := payloadOf(t, token)
	check(t, strings.HasPrefix(payload, `{"sub":"1","iat":1800000000,"exp":1800003600,`),
		"A token must say when it was made and when it ends: after -token-ttl.",
		"the payload is %s\nwant iat 1800000000 and exp 1800003600", payload)

	now = time.Unix(1_800_003_599, 999_000_000)
	s.whoAmI(token).contains(t, 200, `"username":"enrico"`, "A token must be good until exp.")

	const promise = "A token must be refused from exp on: see verifyToken in auth.go."
	now = time.Unix(1_800_003_600, 0)
	s.whoAmI(token).is(t, 401, wrongToken, promise)
	s.logged(t, "the token has expired", promise)
}

// TestVoidTokens edits the user. The token is void until the edit is undone.
func TestVoidTokens(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	s.signUpAs(t, "anna")
	token := s.tokenFor(t, "enrico")
	before := readFile(t, s.path)
	hash := hashIn(t, before)

	for _, row := range []struct{ name, old, new, reason string }{ // in the file, old becomes new
		{"disabled", `true}`, `false}`, "the user is disabled"},
		{"removed", `"id":1,`, `"id":3,`, "the user was removed"},
		{"all removed", before, "[]", "the user was removed"},
		{"another password", hash, newHash(t, "other", 4), "name or password has changed since"},
		{"renamed", `"enrico"`, `"enrica"`, "name or password has changed since"},
	} {
		t.Run(row.name, func(t *testing.T) {
			const promise = "A token must be void the moment its user is disabled, removed or " +
				"changed: see userOf in auth.go."
			edit(t, s.path, replace(t, before, row.old, row.new))
			s.log.forget()
			s.whoAmI(token).is(t, 401, wrongToken, promise)
			s.logged(t, row.reason, "The log must say why a token is refused.")

			edit(t, s.path, before)
			s.whoAmI(token).contains(t, 200, `"username":"enrico"`,
				"If the edit is undone, the token must be good again.")
		})
	}

	// Another e-mail address changes nothing.
	edit(t, s.path, replace(t, before, "enrico@", "other@"))
	s.whoAmI(token).contains(t, 200, "other@",
		"A token must stay good if only the e-mail address changes.")
}

// TestGivenAwayID removes enrico. The next user gets his id, but not his token.
func TestGivenAwayID(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	token := s.tokenFor(t, "enrico")

	edit(t, s.path, "[]")
	s.postSignup(signupOf("carla")).is(t, 201, userCreated, "An empty file must begin with id 1.")
	s.whoAmI(token).is(t, 401, wrongToken,
		"A token must not be good for another user who has its id.")
}

// ---- Passwords ----

// userLine is a user as the file has it.
func userLine(id int, name, hash string, active bool) string {
	return fmt.Sprintf(`{"id":%d,"username":%q,"email":"%s@example.com",`+
		`"hashed_password":%q,"is_active":%t}`, id, name, name, hash, active)
}

// work expects that a log-in compares with a hash of cost 5. The log says which cost it had.
func (s *service) work(t *testing.T, username, password string) answer {
	t.Helper()
	before := s.log.Len()
	a := s.logInAs(username, password)
	compared := regexp.MustCompile(`msg="compared with bcrypt" req=\d+ cost=(\d+) `)
	found := compared.FindStringSubmatch(s.log.from(before))
	check(t, found != nil && found[1] == "5", equalWork,
		"for %s the log says\n%s\nwant one comparison, with cost=5", shorten(a.sent), s.log.end())
	return a
}

// workService has -cost 5, and users whose hashes come from other programs.
func workService(t *testing.T) *service {
	s := newService(t)
	s.server.cost = 5
	passlib := "$2b" + newHash(t, password, 5)[3:]
	htpasswd := "$2y" + newHash(t, password, 5)[3:]

	lines := []string{
		userLine(1, "enrico", newHash(t, password, 5), true),
		userLine(3, "longest", newHash(t, strings.Repeat("x", 72), 5), true),
		userLine(5, "passlib", passlib, true),
		userLine(6, "htpasswd", htpasswd, true),
		userLine(7, "disabled", newHash(t, password, 5), false),
	}
	edit(t, s.path, "["+strings.Join(lines, ",\n")+"]")
	return s
}

const equalWork = "A stranger must not learn from the time who has an account: " +
	"each try compares with a hash of the same cost: see checkPassword in auth.go."

// TestSameWork logs in, right and wrong. BenchmarkSameTime measures the time of that.
func TestSameWork(t *testing.T) {
	s := workService(t)

	for _, row := range []struct{ name, username, password string }{
		{"as always", "enrico", password},
		{"a password of 72 bytes", "longest", strings.Repeat("x", 72)},
		{"a hash by passlib", "passlib", password},
		{"a hash by htpasswd", "htpasswd", password},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.work(t, row.username, row.password).
				contains(t, 200, `"Login successful"`,
					"The right password must log in, whatever has made its hash.")
		})
	}

	for _, row := range []struct{ name, username, password, reason string }{
		{"a wrong password", "enrico", "wrong", "wrong password"},
		{"a blank too many", "enrico", password + " ", "wrong password"},
		{"an unknown user", "nobody", password, "unknown user"},
		{"a blank in the name", "enrico ", password, "unknown user"},
		{"a long name", strings.Repeat("x", 60_000), password, "unknown user"},
		{"a disabled user", "disabled", password, "disabled user"},
		{"a disabled user, wrong", "disabled", "wrong", "wrong password"},
	} {
		t.Run(row.name, func(t *testing.T) {
			// The answer is the same, the work is the same, and only the log tells them apart.
			s.log.forget()
			s.work(t, row.username, row.password).
				is(t, 401, wrongLogin, equalAnswers).
				header(t, "WWW-Authenticate", askForToken, sayHow)
			s.logged(t, `reason="`+row.reason+`"`, "The log must say why a log-in is refused.")
		})
	}
}

// TestLongPasswords tries passwords that begin with the right one. bcrypt reads only 72 bytes.
func TestLongPasswords(t *testing.T) {
	s := workService(t)
	longest := strings.Repeat("x", 72)

	for _, row := range []struct{ name, username, password, reason string }{
		{"73 bytes", "longest", longest + "x", "wrong password"},
		{"73 bytes, not UTF-8", "longest", longest + "\xff", "wrong password"},
		{"73 bytes of nobody", "nobody", longest + "x", "unknown user"},
	} {
		t.Run(row.name, func(t *testing.T) {
			const promise = "bcrypt can't tell such a password from the right one, but it must be " +
				"refused: see checkPassword in auth.go."
			s.log.forget()
			s.work(t, row.username, row.password).
				is(t, 401, wrongLogin, promise).
				header(t, "WWW-Authenticate", askForToken, sayHow)
			s.logged(t, `reason="`+row.reason+`"`, "The log must say why a log-in is refused.")
		})
	}
}

// TestBcryptError lets bcrypt fail: there is no cost 40.
func TestBcryptError(t *testing.T) {
	s := newService(t)
	s.server.cost = 40
	s.postSignup(lessonSignup).is(t, 500, serverError, "The client isn't told what fails inside.")
	s.logged(t, `level=ERROR msg="refused the request" req=1 status=500 `+
		`detail="Internal Server Error" reason="crypto/bcrypt: cost 40`,
		"The log must say what fails inside.")
}

// ---- The users file ----

// TestWhole opens the users file before a sign-up, and reads it after that.
func TestWhole(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows renames no file over one that is open")
	}
	s := newService(t)
	s.signUpAs(t, "enrico")
	before := readFile(t, s.path)
	opened, err := os.Open(s.path)
	must(t, err)
	defer opened.Close()

	s.signUpAs(t, "anna")
	text, err := io.ReadAll(opened)
	must(t, err)
	same(t, "the users file, opened before the sign-up of anna", string(text), before,
		"The users file must be whole at any instant: a save must write a new file and rename it, "+
			"and never write into the old one: see replace in store.go.")
}

// TestCrash kills the program while clients sign up. Whoever was told 201 is in the file.
func TestCrash(t *testing.T) {
	secret := "AUTH_SECRET=" + strings.Repeat("s", 32)
	p := start(t, "-cost", "4", secret)
	p.signUpAs(t, "enrico")
	token := p.tokenFor(t, "enrico")

	for round := range 4 {
		// Four clients sign up, until the program is gone.
		created := make(chan string, 4000)
		signUpUntilKilled := func(client int) int {
			for i := range 1000 {
				name := fmt.Sprintf("u%d-%d-%d", round, client, i)
				if p.postSignup(signupOf(name)).status != 201 {
					break
				}
				created <- name
			}
			return 0
		}
		ended := make(chan map[int]int)
		go func() { ended <- together(4, signUpUntilKilled) }()

		// Each round kills it a little later.
		await(t, "some sign-ups", func() bool { return len(created) > 5+11*round })
		p.kill()
		<-ended
		text := readFile(t, p.path)
		for range len(created) {
			name := <-created
			check(t, strings.Contains(text, `"`+name+`"`),
				"201 means that the user is on the disk: see save in store.go.",
				"%s was told 201, and after a kill the file doesn't have it", name)
		}

		// The next start finds a whole file.
		p = start(t, "-cost", "4", "-users", p.path, secret)
		p.whoAmI(token).contains(t, 200, `"username":"enrico"`, "With AUTH_SECRET, tokens must outlive the process.")
	}

	p.kill()
	p = start(t, "-users", p.path, "AUTH_SECRET="+strings.Repeat("o", 32))
	p.whoAmI(token).is(t, 401, wrongToken, "With another AUTH_SECRET, old tokens must be refused.")
}

// onlyFile expects that the users file is alone in its folder.
func onlyFile(t testing.TB, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	check(t, len(entries) == 1,
		"No temporary file may stay: see save in store.go.",
		"the folder has %v\nwant only %s", entries, filepath.Base(path))
}

// hashIn returns the first hash in a users file.
func hashIn(t testing.TB, text string) string {
	t.Helper()
	hash := regexp.MustCompile(`\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}`).FindString(text)
	if hash == "" {
		t.Fatalf("The users file must have a bcrypt hash of 60 characters.\ncame:\n%s", text)
	}
	return hash
}

// twoUsers returns a users file with enrico and anna.
func twoUsers(hash string) string {
	one, two := userLine(1, "enrico", hash, true), userLine(2, "anna", hash, true)
	return "[\n" + one + ",\n" + two + "\n]\n"
}

// TestBrokenEdits makes mistakes in an editor. The log names each once, with its line or its user.
func TestBrokenEdits(t *testing.T) {
	hash := newHash(t, password, 4)
	both := twoUsers(hash)
	one, two := userLine(1, "enrico", hash, true), userLine(2, "anna", hash, true)

	for _, row := range []struct{ name, old, new, want string }{ // in the file, old becomes new
		// The text is no JSON.
		{"empty", both, "", `line 1: unexpected end of JSON input`},
		{"half a document", two[20:] + "\n]\n", "", `line 3: unexpected end of JSON input`},
		{"no bracket", "]", "", `line 4: unexpected end of JSON input`},
		{"a comma too many", two, "", `line 4: invalid character`},
		{"two commas", ",\n", ",\n,\n", `line 3: invalid character`},
		{"a comma missing", ",\n", "\n", `line 3: invalid character`},
		{"a second document", "]\n", "]\n[]\n", `line 5: invalid character`},

		// It is JSON, and no array of users.
		{"an object", both, one, `line 1: json: cannot unmarshal object into Go value of type []main.user`},
		{"null as a user", two, "null", `user 2 (""): id`},

		// A user has a fault.
		{"one id twice", `"id":2`, `"id":1`, `user 2 ("anna"): id is missing, below 1, or used`},
		{"an id of 0", `"id":1`, `"id":0`, `user 1 ("enrico"): id is missing, below 1`},
		{"an id of 1.5", `"id":1`, `"id":1.5`,
			`line 2: json: cannot unmarshal number 1.5 into Go struct field user.id of type int64`},
		{"one name twice", `"anna"`, `"ENRICO"`, `user 2 ("ENRICO"): username`},
		{"no name", `"anna"`, `""`, `user 2 (""): username`},
		{"no e-mail", `"enrico@example.com"`, `""`, `user 1 ("enrico"): email is missing`},

		// A hash, or the rest, has a fault.
		{"a password", hash, password, `user 1 ("enrico"): hashed_password`},
		{"a hash too short", hash, hash[:59], `user 1 ("enrico"): hashed_password`},
		{"a hash of another alphabet", hash, hash[:59] + "!", `user 1 ("enrico"): hashed_password`},
		{"a hash that takes hours", "$04$", "$31$", `user 1 ("enrico"): hashed_password`},
		{"Latin-1", "anna", "\xfc", `not UTF-8: save the file as UTF-8`},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newService(t)
			edit(t, s.path, both)
			token := s.tokenFor(t, "enrico")
			text := replace(t, both, row.old, row.new)
			edit(t, s.path, text)

			// Log-ins go on with the last good users. Sign-ups wait until the file is mended.
			for range 2 {
				s.whoAmI(token).contains(t, 200, `"username":"enrico"`,
					"While the file has a fault, the last good users must stay.")
				s.postSignup(signupOf("carla")).
					is(t, 503, notStored,
						"An edit with a fault must not be overwritten: see create in store.go.").
					header(t, "Retry-After", "5", sayWhen)
			}
			same(t, "the users file", readFile(t, s.path), text,
				"An edit with a fault must not be overwritten.")

			// The log says it once, without the hash or the password.
			want := `sign-ups get 503" err="` + s.path + ": " + row.want
			log := strings.ReplaceAll(s.log.String(), `\"`, `"`)
			check(t, strings.Count(log, want) == 1,
				"The log must name a fault once: see reload in store.go.",
				"the log names it %d times, want once: %s\n%s",
				strings.Count(log, want), want, s.log.end())
			check(t, !strings.Contains(log, hash) && !strings.Contains(log, password),
				"No password and no hash may be in the log.", "the log has one:\n%s", s.log.end())
			for line := range strings.Lines(log) {
				check(t, len(line) < 1000, "A line of the log must be short, whatever the file has.",
					"came a line of %d bytes:\n%s", len(line), shorten(line))
			}

			// It is not read again, and a start refuses it too.
			check(t, s.server.store.stamp != nil,
				"A file with a fault must be read once, not at each look-up.",
				"the store has no stamp of the file, want one")
			_, err := openStore(s.path, discard)
			want = s.path + ": " + row.want
			check(t, err != nil && strings.HasPrefix(err.Error(), want),
				"The program must not start with a faulty file: see openStore in store.go.",
				"at the start came %s\nwant %s", errorText(err), want)

			edit(t, s.path, both)
			s.postSignup(signupOf("carla")).contains(t, 201, "User created",
				"Once mended, all must go on.")
		})
	}
}

// TestCutFile cuts a users file at each byte. No part of it is taken for a whole one.
func TestCutFile(t *testing.T) {
	both := strings.TrimSpace(twoUsers(newHash(t, password, 4)))
	for n := range both {
		if _, err := parseUsers([]byte(both[:n])); err == nil {
			t.Errorf("Half of a users file must not be taken for a whole one.\n"+
				"came: no error for the first %d bytes of\n%s", n, both)
		}
	}
}

// TestLastOfMany puts a fault at the end of 5,000 users. BenchmarkManyUsers measures the reading.
func TestLastOfMany(t *testing.T) {
	good := string(manyUsers(t, filepath.Join(t.TempDir(), "users.json"), 5000))
	for _, row := range []struct{ name, old, new, want string }{
		{"no fault", "[", "[", "no error"},
		{"a used id", `"id":5000,`, `"id":4999,`, `user 5000 ("user5000"): id`},
		{"a missing bracket", "\n]", "", `line 5001: unexpected end of JSON input`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := parseUsers([]byte(replace(t, good, row.old, row.new)))
			check(t, strings.HasPrefix(errorText(err), row.want),
				"A fault must be named with its line or its user: see parse in store.go.",
				"came %s\nwant %s", errorText(err), row.want)
		})
	}
}

// TestEdits edits the file as editors do. The next request sees it, and a sign-up keeps it.
func TestEdits(t *testing.T) {
	for _, row := range []struct {
		name string
		edit func(path, text string) error
	}{
		// Three ways to save a text.
		{"truncate and write (VS Code, nano)", func(path, text string) error {
			return os.WriteFile(path, []byte(text), 0o600)
		}},
		{"write and rename (vim, sed -i)", func(path, text string) error {
			err := os.WriteFile(path+"~", []byte(text), 0o600)
			return errors.Join(err, os.Rename(path+"~", path))
		}},
		{"move away and write", func(path, text string) error {
			err := os.Rename(path, path+"~")
			return errors.Join(err, os.WriteFile(path, []byte(text), 0o600))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel() // it sleeps most of the time

			// Each edit sets another e-mail address.
			s := newService(t)
			s.signUpAs(t, "enrico")
			token := s.tokenFor(t, "enrico")
			mails := regexp.MustCompile(`\w+@example.com`)

			for i := range 15 {
				// The clock of files moves in steps: two edits in one step may be seen late.
				time.Sleep(20 * time.Millisecond)
				mail := fmt.Sprintf("mail%02d@example.com", i)
				must(t, row.edit(s.path, mails.ReplaceAllString(readFile(t, s.path), mail)))
				s.whoAmI(token).contains(t, 200, mail,
					"The next request must see an edit: see look in store.go.")

				if i%3 == 0 {
					s.signUpAs(t, fmt.Sprint("user", i))
					text := readFile(t, s.path)
					check(t, strings.Contains(text, mail),
						"A sign-up must keep an edit: see save in store.go.",
						"the file is\n%s\nwant %s", text, mail)
				}
				if t.Failed() {
					return // the next edits would say the same
				}
			}
		})
	}
}

// TestStamps compares the stamps of files. A stamp is the file, its size and its time.
func TestStamps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.json")
	stamp := func(path, text string, second int64) fs.FileInfo {
		writeFile(t, path, text)
		must(t, os.Chtimes(path, time.Unix(second, 0), time.Unix(second, 0)))
		info, err := os.Stat(path)
		must(t, err)
		return info
	}
	first := stamp(path, "[]", 1)

	for _, row := range []struct {
		name  string
		other fs.FileInfo
		want  bool
	}{
		// Is it the stamp of the first one?
		{"another size", stamp(path, "[ ]", 1), false},
		{"another time", stamp(path, "[]", 2), false},
		{"another file", stamp(path+"~", "[]", 1), false},
		{"no file", nil, false},
		{"the same", stamp(path, "[]", 1), true},
	} {
		t.Run(row.name, func(t *testing.T) {
			// Compare in both directions.
			const promise = "A file must be read again if it is another one, or has another size " +
				"or time."
			same(t, "sameStamp(first, other)", sameStamp(first, row.other), row.want, promise)
			same(t, "sameStamp(other, first)", sameStamp(row.other, first), row.want, promise)
		})
	}
	same(t, "sameStamp(nil, nil)", sameStamp(nil, nil), true,
		"A file that is still missing is not read again.")
}

// TestSnapshot saves while a request has an older snapshot.
func TestSnapshot(t *testing.T) {
	s := newStore(t, discard)
	before := s.current()
	_, err := s.create(
		user{Username: "enrico", Email: "a@b", HashedPassword: newHash(t, password, 4)})
	must(t, err)

	const promise = "A snapshot must never change: a request may still read it (" +
		"see withUser in store.go)."
	same(t, "users by id in the old snapshot", len(before.byID), 0, promise)
	same(t, "users by name in the old snapshot", len(before.byName), 0, promise)
	same(t, "the highest id in the old snapshot", before.maxID, 0, promise)
	same(t, "the text of the old snapshot", string(before.text), "[]", promise)
	check(t, s.current().named("Enrico") != nil, "The next look-up must see who signed up.",
		"the new snapshot doesn't have Enrico, want user 1")
}

// TestGone takes the file away for a while. Nobody is forgotten.
func TestGone(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	token := s.tokenFor(t, "enrico")
	const promise = "If the users file is gone, the last good users must stay until it is back: " +
		"see reload in store.go."
	meanwhile := func(status int, body, logged string) {
		t.Helper()
		for range 3 {
			s.whoAmI(token).contains(t, 200, `"username":"enrico"`, promise)
		}
		s.postSignup(lessonSignup).is(t, status, body, promise)
		s.logged(t, logged, promise)
	}

	must(t, os.Rename(s.path, s.path+"~"))
	meanwhile(503, notStored,
		"users.json is gone: put it back, or begin without users: echo '[]' > ")

	must(t, os.Mkdir(s.path, 0o700))
	meanwhile(503, notStored, "users.json: is a directory")
	faults := strings.Count(s.log.String(), "users file has a fault: log-ins")
	same(t, "faults in the log", faults, 2, "The log must name each fault once.")

	must(t, os.Remove(s.path))
	must(t, os.Rename(s.path+"~", s.path))
	meanwhile(400, userExists, `msg="read the users file" users=1`)

	// An empty file is no fault. After it, a missing file isn't one either.
	edit(t, s.path, "[]")
	s.whoAmI(token).is(t, 401, wrongToken,
		"The file is the truth: who is not in it has no account.")
	must(t, os.Remove(s.path))
	s.postSignup(signupOf("anna")).is(t, 201, userCreated, "A missing file must be an empty store.")
}

// TestHandWritten has a file with notes and a form of its own. A save keeps them.
func TestHandWritten(t *testing.T) {
	s := newService(t)
	text := "[\r\n  {\r\n \"note\":\"<b>\\u00fc ]\",\t\"id\": 7,\"username\":\"Enrico\"," +
		"\"email\":\"e@b\",\r\n" + `"hashed_password":"` + newHash(t, password, 4) + `",` +
		`"is_active":true,"tags":[1.50,{"a":null}]}`
	edit(t, s.path, "\ufeff"+text+"\r\n ]\r\n\r\n")
	s.logInAs("enrico", password).contains(t, 200, `"user_id":7`,
		"The name and the id must be those of the file.")

	// Two more users come to the end.
	s.signUpAs(t, "anna")
	s.signUpAs(t, "carla")
	mailAndHash := regexp.MustCompile(`"email":"\w+@example.*?"\$.*?"`)
	came := mailAndHash.ReplaceAllString(readFile(t, s.path), "…")
	want := text + ",\n" +
		`{"id":8,"username":"anna",…,"is_active":true}` + ",\n" +
		`{"id":9,"username":"carla",…,"is_active":true}` + "\n]\n"
	same(t, "the users file", came, want,
		"What a person wrote must stay as it is, and the next id follows the highest: "+
			"see textWith in store.go, and see create in store.go.")
}

// TestModes looks at the mode of the users file.
func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	for _, umask := range []string{"000", "077"} {
		t.Run("umask "+umask, func(t *testing.T) {
			p := start(t, "-cost", "4", "UMASK="+umask)
			for _, name := range []string{"enrico", "anna"} {
				p.signUpAs(t, name)
				info, err := os.Stat(p.path)
				must(t, err)
				same(t, "the mode after the sign-up of "+name, info.Mode().String(), "-rw-------",
					"Only the owner may read the password hashes.")
				must(t, os.Chmod(p.path, 0o666))
			}
		})
	}
}

// TestLinks has a link to a link to the users file.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.json"), filepath.Join(dir, "link")
	writeFile(t, real, "[]")
	must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o700))
	symlink(t, "../real.json", filepath.Join(dir, "etc", "users.json"))
	symlink(t, filepath.Join("etc", "users.json"), link)

	start(t, "-cost", "4", "-users", link).signUpAs(t, "enrico")

	const promise = "A link must be followed, not replaced: see openStore in store.go."
	target, _ := os.Readlink(link)
	same(t, "the link leads to", target, filepath.Join("etc", "users.json"), promise)
	check(t, strings.Contains(readFile(t, real), "enrico"), promise,
		"the file at the end of the links is\n%s\nwant enrico in it", readFile(t, real))
}

// TestNoUsersFile starts with what can't be a users file.
func TestNoUsersFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	symlink(t, "self", at("self"))
	must(t, os.Mkdir(at("folder"), 0o700))

	for _, row := range []struct{ name, want string }{
		{"self", "open " + at("self") + ": too many levels of symbolic links: "},
		{"folder", "read " + at("folder") + ": is a directory: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			status, stderr := runBriefly("", "-users", at(row.name))
			refused(t, status, stderr, 1, "authflow: "+row.want)
		})
	}
}

// TestFullDisk fills a disk, makes it read-only, and mounts the file itself.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir)
	p := start(t, "-cost", "4", "-users", filepath.Join(dir, "users.json"))
	p.signUpAs(t, "enrico")
	before := readFile(t, p.path)

	// A sign-up fails, and changes nothing.
	fails := func(reason string) {
		t.Helper()
		const promise = "If the disk takes no file, a sign-up must get 503 and change nothing: " +
			"see save in store.go."
		p.postSignup(signupOf("anna")).is(t, 503, notStored, promise).
			header(t, "Retry-After", "5", sayWhen)
		p.logged(t, reason, promise)
		same(t, "the users file", readFile(t, p.path), before, promise)
		left, _ := filepath.Glob(filepath.Join(dir, ".users*"))
		same(t, "temporary files", len(left), 0, promise)
		p.logInAs("enrico", password).contains(t, 200, `"user_id":1`, "Log-ins must go on.")
		p.logInAs("anna", password).is(t, 401, wrongLogin, promise)
	}

	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("This test could not fill the disk.")
	}
	fails("no space left on device")
	must(t, os.Remove(filler))

	mount(t, "-o", "remount,ro", dir)
	fails("read-only file system")

	mount(t, "-o", "remount,rw", dir)
	mount(t, "--bind", p.path, p.path)
	fails("device or resource busy")
}

// TestSystemCalls watches the system calls of a save.
func TestSystemCalls(t *testing.T) {
	p := start(t, "-cost", "4")
	p.signUpAs(t, "enrico")
	list := filepath.Join(t.TempDir(), "calls")
	stop := strace(t, p, "-y", "-o", list, "-e", "trace=/^(fsync|rename.*|.*chmod.*|.*utime.*)$")
	p.signUpAs(t, "anna")
	stop()
	calls := readFile(t, list)

	// Each fsync shows what it syncs: fsync(7</tmp/x>).
	folder := regexp.QuoteMeta(filepath.Dir(p.path))
	order := regexp.MustCompile(`(?s)fsync\(\d+<` + folder + `/users\.json\.new>\)` +
		`.*rename.*/users\.json".*fsync\(\d+<` + folder + `>\)`)
	check(t, order.MatchString(calls),
		"201 means that the user is on the disk: a save must sync the file, rename it, and sync "+
			"the folder: see writeTemp and save in store.go.",
		"the system calls were\n%s\nwant fsync of the file, rename, fsync of the folder", calls)
	check(t, !strings.Contains(calls, "chmod") && !strings.Contains(calls, "utime"),
		"A save must not need chmod or a change of times: some mounts refuse them.",
		"the system calls were\n%s\nwant neither", calls)
}

// TestFailingDisk lets one system call of a save fail.
func TestFailingDisk(t *testing.T) {
	for _, row := range []struct {
		name       string
		call       string // the system call, and what it returns
		onlyFolder bool   // let it fail for the folder, and not for the file
		status     int
		want       string
		logged     string
		stored     bool
	}{
		// Before the rename, nothing has changed.
		{"sync of the file", "fsync:error=EIO", false,
			503, notStored, "input/output error", false},
		{"rename", "/^rename:error=EACCES", false,
			503, notStored, "permission denied", false},

		// After it, the user is in the file. Not every system can sync a folder.
		{"sync of the folder", "fsync:error=EIO", true,
			201, `{"message":"User created","user_id":2}`, "", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := start(t, "-cost", "4")
			p.signUpAs(t, "enrico")
			token := p.tokenFor(t, "enrico")

			// strace lets the system call fail while anna signs up.
			args := []string{"-o", os.DevNull, "-e", "inject=" + row.call}
			if row.onlyFolder {
				args = append(args, "-P", filepath.Dir(p.path))
			}
			stop := strace(t, p, args...)
			const promise = "201 means durable. If the disk fails, the answer is 503, and the log " +
				"says what is stored: see save in store.go."
			p.postSignup(signupOf("anna")).is(t, row.status, row.want, promise)
			stop()
			p.logged(t, row.logged, promise)

			// Memory and file agree.
			login := p.logInAs("anna", password)
			same(t, "anna can log in", login.status == 200, row.stored, promise)
			text := readFile(t, p.path)
			same(t, "anna is in the file", strings.Contains(text, "anna@"), row.stored, promise)

			// Nothing is left, and all goes on.
			onlyFile(t, p.path)
			p.whoAmI(token).contains(t, 200, `"username":"enrico"`,
				"After an error of the disk, all must go on.")
			p.signUpAs(t, "carla")
			if row.stored {
				p.postSignup(signupOf("anna")).is(t, 400, userExists, promise)
			}
		})
	}
}

// signUpSlowly begins a sign-up, and waits until its temporary file is there. The channel gives the
// answer.
func signUpSlowly(t *testing.T, p *program, name, folder string) chan answer {
	t.Helper()
	before, _ := filepath.Glob(filepath.Join(folder, "*.new"))
	result := make(chan answer, 1)
	go func() { result <- p.postSignup(signupOf(name)) }()
	await(t, "a temporary file", func() bool {
		now, _ := filepath.Glob(filepath.Join(folder, "*.new"))
		return len(now) > len(before)
	})
	return result
}

// TestSlowDisk lets each sync take 0.7 s. Only the sign-up waits for it.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	p := start(t, "-cost", "4")
	p.signUpAs(t, "enrico")
	token := p.tokenFor(t, "enrico")
	stop := strace(t, p, "-o", os.DevNull, "-e", "inject=fsync:delay_enter=700000")
	defer stop()
	result := signUpSlowly(t, p, "anna", filepath.Dir(p.path))

	// Now the file syncs.
	const promise = "A look-up must never wait for the disk to sync: see store in store.go."
	p.whoAmI(token).contains(t, 200, `"username":"enrico"`, promise)
	p.logInAs("anna", password).is(t, 401, wrongLogin,
		"Who is not on the disk yet must not log in.")
	same(t, "answers to the sign-up, while the file syncs", len(result), 0, promise)

	// Now the folder syncs.
	await(t, "the rename", func() bool { return strings.Contains(readFile(t, p.path), "anna") })
	p.whoAmI(token).contains(t, 200, `"username":"enrico"`, promise)
	same(t, "answers to the sign-up, while the folder syncs", len(result), 0, promise)
	answered := <-result
	answered.contains(t, 201, "User created", "A disk that is slow must still store.")
}

// TestEditDuringSave edits the file while a save writes.
func TestEditDuringSave(t *testing.T) {
	t.Parallel()
	p := start(t, "-cost", "4")
	p.signUpAs(t, "enrico")
	token := p.tokenFor(t, "enrico")

	// The edit comes while the new file syncs, which takes 0.3 s.
	stop := strace(t, p, "-o", os.DevNull, "-e", "inject=fsync:delay_enter=300000")
	result := signUpSlowly(t, p, "anna", filepath.Dir(p.path))
	edited := replace(t, readFile(t, p.path), "enrico@", "edited@")
	writeFile(t, p.path, edited)
	answered := <-result
	stop()

	const promise = "An edit during a save must not be overwritten: see replace in store.go."
	answered.is(t, 503, notStored, promise)
	same(t, "the users file", readFile(t, p.path), edited, promise)
	p.logged(t, "users file was edited at the same moment", promise)
	p.whoAmI(token).contains(t, 200, "edited@", promise)
	onlyFile(t, p.path)
}

// TestBeside asks who am I and logs in, beside sign-ups and edits. With go test -race, it fails if
// a look-up takes no lock.
func TestBeside(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	token := s.tokenFor(t, "enrico")
	const promise = "Look-ups, sign-ups and edits at the same time must not disturb each other: " +
		"see current in store.go."

	// If this test fails, this line stands above the report of the race detector.
	t.Log(promise)

	// Four clients, each thirty times.
	clients := []func(i int){
		func(i int) { s.whoAmI(token).contains(t, 200, `"username":"enrico"`, promise) },
		func(i int) { s.logInAs("enrico", password).withoutToken().is(t, 200, loggedIn, promise) },
		func(i int) { s.postSignup(signupOf(fmt.Sprint("user", i))) },
		func(i int) {
			now := time.Now().Add(time.Duration(i) * time.Second)
			os.Chtimes(s.path, now, now) // an edit: the next look-up reads the file again
			time.Sleep(time.Millisecond)
		},
	}

	together(len(clients), func(client int) int {
		for i := range 30 {
			clients[client](i)
		}
		return 0
	})
}

// ---- The program ----

// runBriefly runs authflow in this process, and stops it as soon as it serves. It returns the exit
// status and what it wrote to stderr.
func runBriefly(secret string, args ...string) (status int, stderr string) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	var written bytes.Buffer
	args = append([]string{"-addr", "127.0.0.1:0"}, args...)
	status = run(ctx, args, func(string) string { return secret }, &written)
	return status, written.String()
}

// refused expects an exit status, and one line that says why.
func refused(t testing.TB, status int, stderr string, wantStatus int, want string) {
	t.Helper()
	oneLine := strings.Count(stderr, "\n") == 1
	check(t, status == wantStatus && strings.HasPrefix(stderr, want) && oneLine,
		"A program that can't do what it should must say in one line what would be right.",
		"came exit status %d and\n%s\nwant exit status %d and one line that begins with\n%s",
		status, stderr, wantStatus, want)
}

// TestUsage runs authflow with wrong flags.
func TestUsage(t *testing.T) {
	for _, row := range []struct {
		args []string
		want string
	}{
		// What is no flag, or no value of one.
		{[]string{"-nosuch"}, "flag provided but not defined: -nosuch"},
		{[]string{"serve"}, `unexpected argument "serve": there are only flags`},
		{[]string{"-v=maybe"}, `invalid boolean value "maybe" for -v: `},
		{[]string{"-cost", "3"}, "-cost must be from 4 to 16"},
		{[]string{"-cost", "17"}, "-cost must be from 4 to 16"},
		{[]string{"-cost", "x"}, `invalid value "x" for flag -cost: `},
		{[]string{"-token-ttl", "30d"}, `invalid value "30d" for flag -token-ttl: `},
		{[]string{"-token-ttl", "999ms"}, "-token-ttl must be at least 1s"},

		// What doesn't go together, or can't work.
		{[]string{"-addr", ""}, "-addr and -users must not be empty"},
		{[]string{"-users", ""}, "-addr and -users must not be empty"},
		{[]string{"-tls-cert", "cert.pem"}, "-tls-cert and -tls-key go together"},
		{[]string{"-tls-key", "key.pem"}, "-tls-cert and -tls-key go together"},
	} {
		t.Run(strings.Join(row.args, " "), func(t *testing.T) {
			status, stderr := runBriefly("", row.args...)
			refused(t, status, stderr, 2, "authflow: "+row.want)
		})
	}

	// Browsers never send these as an origin.
	for _, origin := range []string{
		"*", "null", "localhost:5173", "http://a.b/", "http://A.b", "https://*.b",
	} {
		t.Run("-allow-origin "+origin, func(t *testing.T) {
			status, stderr := runBriefly("", "-allow-origin", origin)
			refused(t, status, stderr, 2, `authflow: invalid value "`+origin+`" for flag `+
				`-allow-origin: it must be in lower case, without path: http://localhost:5173`)
		})
	}
}

// TestRightUsage runs authflow with flags that are unusual and right.
func TestRightUsage(t *testing.T) {
	for _, row := range [][]string{
		{"-cost", "4"}, {"-cost", "16"},
		{"-token-ttl", "1s"}, {"-token-ttl", "1h30m"},
		{"-v=false"},
		{"-allow-origin", "http://localhost:5173", "-allow-origin", "https://front.example"},
		{"-allow-origin", "http://[::1]:5173"}, {"-allow-origin", "https://a.b:80"},
	} {
		t.Run(strings.Join(row, " "), func(t *testing.T) {
			args := append(row, "-users", filepath.Join(t.TempDir(), "users.json"))
			status, stderr := runBriefly("", args...)
			check(t, status == 0, "These flags are right: see configure in main.go.",
				"came exit status %d and\n%s\nwant exit status 0", status, stderr)
		})
	}
}

// TestSecret runs authflow with secrets of several lengths.
func TestSecret(t *testing.T) {
	short := strings.Repeat("s", 31)
	status, stderr := runBriefly(short)
	refused(t, status, stderr, 2,
		"authflow: AUTH_SECRET must have at least 32 bytes: try openssl rand -base64 32")
	check(t, !strings.Contains(stderr, short), "No secret may be printed.",
		"the secret is in\n%s", stderr)

	users := filepath.Join(t.TempDir(), "users.json")
	status, stderr = runBriefly(strings.Repeat("s", 32), "-users", users)
	check(t, status == 0, "A secret of 32 bytes is enough.",
		"came exit status %d and\n%s\nwant 0", status, stderr)
	check(t, !strings.Contains(stderr, "AUTH_SECRET"), "With a secret there is nothing to warn of.",
		"came\n%s\nwant no AUTH_SECRET", stderr)
	same(t, "Go's threads", runtime.GOMAXPROCS(0), processors+1,
		"Go must use one thread more than bcrypt has slots, so that other requests don't wait: "+
			"see serve in main.go.")
}

// TestRandomSecret starts the program twice, without AUTH_SECRET.
func TestRandomSecret(t *testing.T) {
	p := start(t, "-cost", "4")
	p.signUpAs(t, "enrico")
	token := p.tokenFor(t, "enrico")
	p.kill()

	p = start(t, "-cost", "4", "-users", p.path)
	p.whoAmI(token).is(t, 401, wrongToken,
		"Without AUTH_SECRET, each start must have a key that nobody can guess: "+
			"see signingKey in main.go.")
}

// TestDefaults compares the default of each flag with what -h says.
func TestDefaults(t *testing.T) {
	c, err := configure(nil, noEnvironment, io.Discard)
	must(t, err)
	status, manual := runBriefly("", "-h")
	same(t, "the exit status of -h", status, 0, "-h is no mistake.")

	for _, row := range []struct{ flag, value, want, manual string }{
		// flag, value of the config, what it should be, what -h should say
		{"-addr", c.addr, "127.0.0.1:8000", `"127.0.0.1:8000"`},
		{"-users", c.users, "users.json", `"users.json"`},
		{"-cost", strconv.Itoa(c.cost), "12", "12"},
		{"-token-ttl", c.tokenTTL.String(), "1h0m0s", "1h0m0s"},
		{"-allow-origin", strings.Join(c.origins, " "), "", ""},
		{"-tls-cert", c.tlsCert, "", ""},
		{"-tls-key", c.tlsKey, "", ""},
		{"-v", strconv.FormatBool(c.verbose), "false", ""},
	} {
		t.Run(row.flag, func(t *testing.T) {
			const promise = "-h must say the default of each flag, and that must be true: " +
				"see configure in main.go."
			same(t, "the default", row.value, row.want, promise)

			// A flag's part of the manual ends where the next one begins.
			_, part, found := strings.Cut(manual, "\n  "+row.flag)
			check(t, found, "-h must explain each flag.",
				"it doesn't have %s:\n%s", row.flag, manual)
			part, _, _ = strings.Cut(part, "\n  -")
			_, said, _ := strings.Cut(part, "(default ")
			said, _, _ = strings.Cut(said, ")")
			same(t, "the default that -h says", said, row.manual, promise)
		})
	}
}

// TestCannotServe starts a second program beside one that runs, and programs that can't serve.
func TestCannotServe(t *testing.T) {
	p := start(t)
	taken := strings.TrimPrefix(p.url, "http://")
	temp := filepath.Join(filepath.Dir(p.path), ".users.json.authflow-1")
	writeFile(t, temp, "a save of the program that runs")

	for _, row := range []struct {
		name string
		args []string
		want string
	}{
		// Each in one line, with exit status 1.
		{"a port that is taken",
			[]string{"-addr", taken, "-users", p.path},
			"authflow: listen tcp " + taken + ": "},
		{"a host that doesn't exist",
			[]string{"-addr", "no..host:0"},
			"authflow: listen tcp: lookup no..host: no such host: choose another address with -addr"},
		{"no certificate",
			[]string{"-tls-cert", "nosuch.pem", "-tls-key", "nosuch.pem"},
			"authflow: -tls-cert or -tls-key: open nosuch.pem: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			q := launch(t, row.args...)
			refused(t, q.exit(t), q.log.String(), 1, row.want)
		})
	}

	same(t, "the file of the other program's save", readFile(t, temp),
		"a save of the program that runs",
		"A program that can't listen must not touch the users file.")
	same(t, "the exit status of authflow -cost 3", launch(t, "-cost", "3").exit(t), 2,
		"Wrong usage is 2.")
}

// TestStart starts authflow with what deserves a warning, and opens the addresses that it logs.
func TestStart(t *testing.T) {
	secret := "AUTH_SECRET=" + strings.Repeat("s", 32)
	for _, row := range []struct {
		name     string
		args     []string
		warnings []string
	}{
		{"as it should be", []string{secret, "-cost", "10"}, nil},
		{"no secret", []string{"-cost", "16"}, []string{"AUTH_SECRET is not set"}},
		{"a low cost", []string{secret, "-cost", "9"}, []string{"hashed too fast"}},
		{"all addresses", []string{secret, "-addr", "0.0.0.0:0"}, []string{"unencrypted"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			log := start(t, row.args...).log.String()
			warns(t, log, row.warnings)

			// Open what the log says.
			listening := regexp.MustCompile(`msg=listening url=(\S+)`)
			for _, found := range listening.FindAllStringSubmatch(log, -1) {
				address := api{url: found[1]}
				address.send("GET", "/healthz", "").is(t, 200, `{"status":"ok"}`,
					"Each address in the log must work: see hosts in main.go.")
				check(t, !strings.Contains(address.url, "0.0.0.0"),
					"0.0.0.0 is no address to open: see hosts in main.go.",
					"the log has %s, want the addresses of this machine", address.url)
			}
		})
	}
}

// warns expects these warnings in a log, and no others.
func warns(t *testing.T, log string, warnings []string) {
	t.Helper()
	const promise = "A risk must be a warning at the start: see warnOfRisks in main.go."
	check(t, strings.Count(log, "level=WARN") == len(warnings), promise,
		"the log is\n%s\nwant %d warnings", lastLines(log), len(warnings))
	for _, warning := range warnings {
		check(t, strings.Contains(log, warning), promise,
			"the log is\n%s\nwant a warning: %s", lastLines(log), warning)
	}
}

// TestReadableFile starts with a users file that others may read.
func TestReadableFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	users := filepath.Join(t.TempDir(), "users.json")
	writeFile(t, users, "[]")
	must(t, os.Chmod(users, 0o640))
	p := start(t, "AUTH_SECRET="+strings.Repeat("s", 32), "-users", users)
	warns(t, p.log.String(), []string{"others may read the password hashes: chmod 600 " + users})
}

// TestStop sends a signal while a request is on its way.
func TestStop(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals")
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			p := start(t, "-cost", "4")

			// "100 Continue" says that the request has begun. Its body is still to come.
			const body = "username=enrico&password=plaintextpassword"
			conn := dial(t, p.url, "POST /auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: "+asForm+
				"\r\nContent-Length: "+strconv.Itoa(len(body))+"\r\nExpect: 100-continue\r\n\r\n")
			reader := bufio.NewReader(conn)
			if line, err := reader.ReadString('\n'); !strings.Contains(line, "100 Continue") {
				t.Fatalf("The service answered %q (%s), want 100 Continue.", line, errorText(err))
			}

			must(t, p.cmd.Process.Signal(signal))
			const promise = "After a signal, what has begun must be answered, and the exit " +
				"status is 0: see serveUntil in main.go."
			p.logged(t, "msg=stopping", promise)
			io.WriteString(conn, body)
			rest, _ := io.ReadAll(reader)
			check(t, strings.HasSuffix(string(rest), wrongLogin), promise,
				"POST /auth/login after the signal came as\n%s\nwant %s", rest, wrongLogin)
			same(t, "the exit status", p.exit(t), 0, promise)
			check(t, !strings.Contains(p.log.String(), "stopped before"), promise,
				"the log warns that it stopped before all were answered:\n%s", p.log.end())
		})
	}
}

// TestTLS serves HTTPS, with a certificate of httptest.
func TestTLS(t *testing.T) {
	other := httptest.NewTLSServer(nil)
	defer other.Close()
	cert := other.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	must(t, err)
	file := filepath.Join(t.TempDir(), "cert-and-key.pem")
	writeFile(t, file,
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))+
			string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))

	p := start(t, "-cost", "4", "-tls-cert", file, "-tls-key", file, "-addr", "0.0.0.0:0")
	check(t, strings.HasPrefix(p.url, "https://127.0.0.1:"),
		"With TLS, the addresses must begin with https.",
		"came %s\nwant https://127.0.0.1:…", p.url)
	check(t, !strings.Contains(p.log.String(), "unencrypted"),
		"With TLS, nothing crosses the network unencrypted.",
		"the log warns of it:\n%s", p.log.end())
	p.postSignup(lessonSignup).is(t, 201, userCreated,
		"With a certificate, the service must speak TLS.")
}

// TestDependencies lists the packages that are not of the standard library.
func TestDependencies(t *testing.T) {
	const notStandard = "{{if not .Standard}}{{.ImportPath}}{{end}}"
	list := exec.Command(need(t, "go"), "list", "-deps", "-f", notStandard, ".")
	out, err := list.Output()
	must(t, err)
	same(t, "the packages", strings.Join(strings.Fields(string(out)), " "),
		"golang.org/x/crypto/blowfish golang.org/x/crypto/bcrypt authflow",
		"The program must need the standard library and bcrypt, and no other package.")
}

// TestCallsRunDown reads the sources: main.go uses auth.go, and both use store.go. Nothing in a
// lower file uses a name of a higher one, so a reader of store.go needs no other file.
func TestCallsRunDown(t *testing.T) {
	higher := map[string]string{} // a name: the file that has it
	for _, file := range []string{"main.go", "auth.go", "store.go"} {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		must(t, err)

		// What the parser can't find in the file is of another file, or of Go.
		for _, name := range tree.Unresolved {
			check(t, higher[name.Name] == "",
				"Calls must run down: main.go, then auth.go, then store.go.",
				"%s uses %s, which is in %s", file, name.Name, higher[name.Name])
		}
		for name := range tree.Scope.Objects {
			higher[name] = file
		}
	}
}

// TestHints looks for the places that the failures name: "see verifyToken in auth.go".
func TestHints(t *testing.T) {
	broken := regexp.MustCompile(`" ?\+\n\s*"`) // a text goes on in the next line
	text := broken.ReplaceAllString(readFile(t, "auth_test.go"), "")

	hints := regexp.MustCompile(`see (\w+)(?: and (\w+))? in (\w+\.go)`)
	for _, hint := range hints.FindAllStringSubmatch(text, -1) {
		for _, name := range hint[1:3] { // the second one may be ""
			declared := regexp.MustCompile(`(?m)^(func|type) (\(.*?\) )?` + name + `\b`)
			check(t, declared.MatchString(readFile(t, hint[3])), "A failure must say where to look.",
				"a test says %q, and %s has no %s", hint[0], hint[3], name)
		}
	}
}

// ---- The log ----

// TestLog sends secrets, and paths that could forge a line of the log.
func TestLog(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	token := s.tokenFor(t, "enrico")
	s.logInAs("enrico", "wrong-password")
	s.logInAs(password, "x")
	s.whoAmI(token + "x")
	s.send("GET", "/auth/me?access_token="+token+"&password="+password, "",
		"Authorization", "Bearer "+token)

	// Paths and methods that a log line must not have as they are.
	for _, request := range []string{
		"GET /%0d%0atime=forged%20level=INFO", "GET /\u202egnp.exe", "GET /%1b%5b2J%e2%80%ae",
		"GET /" + strings.Repeat("x", 8000), strings.Repeat("X", 8000) + " /", "GET /\xff\xfe",
		"POST /auth/login\r\nOrigin: http://" + strings.Repeat("x", 8000),
	} {
		s.raw(t, request, "")
	}
	await(t, "13 lines of requests", func() bool {
		return strings.Count(s.log.String(), "msg=request ") >= 13
	})
	log := s.log.String()

	hash := hashIn(t, readFile(t, s.path))
	salt, digest := hash[7:29], hash[29:]
	for _, secret := range []string{
		password, "wrong-password", token, payloadOf(t, token), salt, digest, "the key",
	} {
		check(t, !strings.Contains(log, secret),
			"No password, token, hash or key may be in the log.",
			"the log has %q, want it nowhere:\n%s", secret, linesWith(log, secret))
	}

	const promise = "The log must have one plain line for each request, whatever a client sends: " +
		"see logRequests in main.go."
	same(t, "lines of requests", strings.Count(log, "msg=request "), 13, promise)
	check(t, !strings.Contains(log, "status=0"), promise,
		"the log has a status 0, want the real one:\n%s", linesWith(log, "status=0"))
	plain := regexp.MustCompile(`^time=\S+ level=(DEBUG|INFO) msg=[ -~µ]+ req=\d+ [ -~µ]+\n$`)
	for line := range strings.Lines(log) {
		check(t, plain.MatchString(line) && len(line) < 1000, promise,
			"came a line of %d bytes\n%.300q\nwant a short line of plain characters",
			len(line), line)
	}
}

// TestSteps compares the log with and without -v.
func TestSteps(t *testing.T) {
	steps := func(args ...string) string {
		p := start(t, append(args, "-cost", "4")...)
		p.whoAmI("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.y.z")
		p.send("POST", "/auth/login", "", "Sec-Fetch-Site", "cross-site")
		for range 11 {
			p.logInAs("nobody", password)
		}
		p.kill()
		_, log, _ := strings.Cut(p.log.String(), "users="+p.path+"\n")
		return log
	}

	log := steps()
	same(t, "lines of the log\n"+log, strings.Count(log, "\n"), 13,
		"Without -v, the log must have one line for each request.")
	check(t, !strings.Contains(log, "DEBUG"), "Only -v tells the steps.",
		"without -v came\n%s", log)

	log = steps("-v")
	for _, want := range []string{
		`msg="refused the request" req=1 status=401 ` +
			`detail="Could not validate credentials" reason="the signature doesn't fit"`,
		`msg=request req=1 method=GET path=/auth/me status=401 took=\S+ addr=127\.0\.0\.1:\d+`,
		`msg="refused the request" req=2 status=403 detail="Cross-origin request refused" `,
		`msg="compared with bcrypt" req=3 cost=4 took=\S+`,
		`msg="refused the request" req=3 status=401 ` +
			`detail="Invalid credentials" reason="unknown user"`,
		`msg="refused the request" req=13 status=429 detail="Too many failed log-ins"`,
	} {
		check(t, regexp.MustCompile(want).MatchString(log),
			"-v must tell each step and each refusal.",
			"the log is\n%s\nwant a line like\n%s", lastLines(log), want)
	}
}

// TestRefusalsHaveLines refuses a request for each reason. With -v, the log has a line.
func TestRefusalsHaveLines(t *testing.T) {
	log := &output{}
	s := newServiceWith(t, newLogger(log, true), log)
	s.signUpAs(t, "enrico")
	const signup = "POST /auth/signup\r\nContent-Type: application/json"
	const login = "POST /auth/login\r\nContent-Type: application/x-www-form-urlencoded"

	for _, row := range []struct{ name, request, body, logged string }{
		// What a request may send.
		{"a sign-up's faults", signup, "{}", "status=422"},
		{"a log-in's faults", login, "", "status=422"},
		{"a form that is none", login, "%", "status=422"},
		{"too large", signup, strings.Repeat(" ", 70_000), "status=413"},
		{"another Content-Type", "POST /auth/signup", "{}", "status=415"},
		{"a broken body", signup + "\r\nTransfer-Encoding: chunked", "zz\r\n", "status=400"},

		// Names, passwords and tokens.
		{"a name that is taken", signup, lessonSignup, "status=400 .*exists"},
		{"a wrong password", login, "username=enrico&password=x", "status=401 .*Invalid"},
		{"no token", "GET /auth/me", "", "status=401 .*Not authenticated"},
		{"a wrong token", "GET /auth/me\r\nAuthorization: Bearer x", "", "status=401 .*validate"},

		// Paths and origins.
		{"another origin", login + "\r\nSec-Fetch-Site: cross-site", "", "status=403"},
		{"no such path", "GET /nosuch", "", "status=404"},
		{"another method", "PUT /auth/me", "", "status=405"},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := log.Len()
			s.raw(t, row.request, row.body)
			hasLine(t, log.from(before), row.logged)
		})
	}
}

// TestLateRefusalsHaveLines does the same for requests that are refused after some work.
func TestLateRefusalsHaveLines(t *testing.T) {
	log := &output{}
	s := newServiceWith(t, newLogger(log, true), log)

	t.Run("the file has a fault", func(t *testing.T) {
		edit(t, s.path, "")
		s.postSignup(signupOf("anna"))
		hasLine(t, log.String(), "status=503")
		must(t, os.Remove(s.path))
	})

	t.Run("too busy", func(t *testing.T) {
		before := log.Len()
		s.server.hashing.waiting.Store(100)
		s.postSignup(signupOf("anna"))
		s.server.hashing.waiting.Store(0)
		hasLine(t, log.from(before), "status=503")
	})

	// A 429 comes before the hash, or after it.
	t.Run("too many failures", func(t *testing.T) {
		before := log.Len()
		for range 11 {
			s.logInAs("nobody", "wrong")
		}
		hasLine(t, log.from(before), "status=429")
	})
	t.Run("too many failures in the meantime", func(t *testing.T) {
		before := log.Len()
		s.throttledWhileWaiting(t)
		hasLine(t, log.from(before), "status=429")
	})
}

// hasLine expects that the log has a refusal.
func hasLine(t *testing.T, log, logged string) {
	t.Helper()
	refusal := regexp.MustCompile(`msg="refused the request" req=\d+ ` + logged)
	check(t, refusal.MatchString(log),
		"With -v, each refusal must be in the log: see writeError in auth.go.",
		"the log has\n%s\nwant %s", lastLines(log), refusal)
}

// throttledWhileWaiting logs in as waiter. While that waits for a slot, ten other tries fail.
func (s *service) throttledWhileWaiting(t *testing.T) {
	t.Helper()
	for range processors {
		s.server.hashing.slots <- struct{}{}
	}
	now := time.Now()
	s.server.now = func() time.Time { return now }
	result := make(chan answer, 1)
	go func() { result <- s.logInAs("waiter", password) }()
	await(t, "a log-in in the line", func() bool {
		return s.server.hashing.waiting.Load() == 1 || len(result) == 1
	})

	for range 10 {
		s.server.throttle.checkAndCount(newThrottleKey("waiter", "127.0.0.1:1"), false, now)
	}
	for range processors {
		<-s.server.hashing.slots
	}
	answered := <-result
	answered.is(t, 429, tooManyTries,
		"Of parallel tries, no more may be answered than one by one: see count in auth.go.").
		header(t, "Retry-After", "60", sayWhen)
}

// ---- Load and attack ----

// fillLine takes all slots, and lets a hundred requests wait for one. hangUp ends them.
func fillLine(t *testing.T, line *semaphore, send func(ctx context.Context, client int)) (
	hangUp func()) {
	t.Helper()
	for range cap(line.slots) {
		line.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan map[int]int)

	go func() {
		ended <- together(100, func(i int) int { send(ctx, i); return 0 })
	}()
	await(t, "a longer line", func() bool { return line.waiting.Load() == 100 })
	return func() {
		cancel()
		<-ended
	}
}

// TestLines fills the slots and the line of hashes. The others are served.
func TestLines(t *testing.T) {
	s := newService(t)
	s.signUpAs(t, "enrico")
	token := s.tokenFor(t, "enrico")
	const form = "username=enrico&password=wrong"

	// A hundred wait.
	line := s.server.hashing
	var once sync.Once // a hundred messages would say no more than one
	hangUp := fillLine(t, line, func(ctx context.Context, client int) {
		r, _ := http.NewRequestWithContext(ctx, "POST", s.url+"/auth/login", strings.NewReader(form))
		r.Header.Set("Content-Type", asForm)
		if resp, err := hangingUp.Do(r); err == nil {
			resp.Body.Close()
			once.Do(func() {
				t.Errorf("Who has no slot must wait in the line: see authenticate in auth.go.\n"+
					"sent: POST /auth/login, while all slots are taken\n"+
					"came: %d\nwant: no answer yet", resp.StatusCode)
			})
		}
	})

	// The next one is refused at once. Who needs no slot is served.
	const promise = "At most 100 requests may wait, and the others must be served: " +
		"see acquire in auth.go."
	s.postLogin(form).is(t, 503, tooBusy, promise).header(t, "Retry-After", "5", sayWhen)
	s.whoAmI(token).contains(t, 200, `"username":"enrico"`, promise)

	// All hang up. They leave the line.
	before := s.log.Len()
	hangUp()
	const leave = "A client that hangs up must leave the line: see acquire in auth.go."
	await(t, "an empty line. "+leave, func() bool { return line.waiting.Load() == 0 })
	await(t, "their lines of the log", func() bool {
		return strings.Count(s.log.from(before), "path=/auth/login status=503") == 100
	})

	// The slots are all free again, and those above were no failures of enrico's.
	for range cap(line.slots) {
		<-line.slots
	}
	same(t, "slots that are taken", len(line.slots), 0, leave)
	s.signUpAs(t, "anna")
	s.logInAs("enrico", password).withoutToken().is(t, 200, loggedIn, leave)
}

// TestPatience waits in a line, by synctest's clock.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(newStore(t, discard), nil, time.Hour, 4)
		for range processors {
			s.hashing.slots <- struct{}{}
		}

		const promise = "A request may wait 15 s in a line, then it must get 503: " +
			"see acquire in auth.go."
		began := time.Now()
		handle(s, signupRequestFrom("192.0.2.1:1", lessonSignup)).
			is(t, 503, tooBusy, promise).
			header(t, "Retry-After", "5", sayWhen)
		same(t, "the wait", time.Since(began), 15*time.Second, promise)
	})
}

// A guesser tries passwords by a clock that the test sets.
type guesser struct {
	*server
	clock time.Time
}

func newGuesser(t *testing.T) *guesser {
	t.Helper()
	s := newServer(newStore(t, discard), []byte("the key"), time.Hour, 4)
	g := &guesser{s, time.Unix(1_800_000_000, 0)}
	g.now = func() time.Time { return g.clock }
	hash := newHash(t, password, 4)
	_, err := g.store.create(
		user{Username: "enrico", Email: "e@b", HashedPassword: hash, IsActive: true})
	must(t, err)
	return g
}

const (
	home, away = "192.0.2.1:1111", "192.0.2.2:1111"
	throttled  = "After 10 failures in a row, an account and an address must get one try a " +
		"minute: see throttle in auth.go."
)

// try logs in with a name and a password, from an address.
func (g *guesser) try(addr, name, password string) answer {
	return handle(g.server, loginRequestFrom(addr, "username="+name+"&password="+password))
}

// failTenTimes uses up the tries of enrico, from home.
func (g *guesser) failTenTimes(t *testing.T) {
	t.Helper()
	for range 10 {
		g.try(home, "enrico", "wrong").is(t, 401, wrongLogin,
			"The first 10 failures must be plain 401s.")
	}
}

// TestThrottle fails ten times, and then waits.
func TestThrottle(t *testing.T) {
	g := newGuesser(t)
	g.failTenTimes(t)

	// Now the right password doesn't help.
	g.try(home, "enrico", password).is(t, 429, tooManyTries, throttled).
		header(t, "Retry-After", "60", sayWhen)
	g.clock = g.clock.Add(59*time.Second + time.Millisecond)
	g.try(home, "enrico", password).is(t, 429, tooManyTries, throttled).
		header(t, "Retry-After", "1", sayWhen)

	// After a minute there is one try.
	g.clock = g.clock.Add(999 * time.Millisecond)
	g.try(home, "enrico", "wrong").is(t, 401, wrongLogin, throttled)
	g.try(home, "enrico", password).is(t, 429, tooManyTries, throttled).
		header(t, "Retry-After", "60", sayWhen)
}

// TestThrottleEnds succeeds after nine failures, again and again.
func TestThrottleEnds(t *testing.T) {
	g := newGuesser(t)
	g.failTenTimes(t)
	g.clock = g.clock.Add(time.Minute)
	for range 3 {
		g.try(home, "enrico", password).contains(t, 200, `"Login successful"`,
			"A success must clear the failures.")
		for range 9 {
			g.try(home, "enrico", "wrong").is(t, 401, wrongLogin,
				"A success must clear the failures.")
		}
	}
}

// TestThrottleKeys fails ten times for enrico, from home. Who else is throttled?
func TestThrottleKeys(t *testing.T) {
	g := newGuesser(t)
	g.failTenTimes(t)

	for _, row := range []struct {
		name, addr, username string
		status               int
		want                 string
	}{
		// He is, however he writes it.
		{"another port", "192.0.2.1:2222", "enrico", 429, tooManyTries},
		{"the same address in IPv6", "[::ffff:192.0.2.1]:1", "enrico", 429, tooManyTries},
		{"other letters", home, "ENRICO", 429, tooManyTries},
		{"a letter %-encoded", home, "enric%4F", 429, tooManyTries},

		// These are others.
		{"another address", away, "enrico", 401, wrongLogin},
		{"another account", home, "anna", 401, wrongLogin},
	} {
		t.Run(row.name, func(t *testing.T) {
			g.try(row.addr, row.username, "wrong").is(t, row.status, row.want,
				"The throttle must count by account and address: see newThrottleKey in auth.go.")
		})
	}
	g.try(away, "enrico", password).contains(t, 200, `"Login successful"`,
		"Nobody may lock a user out from elsewhere: see newThrottleKey in auth.go.")
}

// TestThrottleUnknown fails ten times for a name that nobody has, from one IPv6 network.
func TestThrottleUnknown(t *testing.T) {
	g := newGuesser(t)
	for i := range 10 {
		addr := fmt.Sprintf("[2001:db8:1:2:%x::1%%eth0]:1", i+1)
		g.try(addr, "nobody", "wrong").is(t, 401, wrongLogin,
			"The first 10 failures must be plain 401s.")
	}

	g.try("[2001:db8:1:2:ffff::9]:1", "nobody", "wrong").is(t, 429, tooManyTries,
		"An unknown name must be throttled as a known one is. One IPv6 network (/64) is one address.")
	g.try("[2001:db8:1:3::1]:1", "nobody", "wrong").is(t, 401, wrongLogin,
		"Another IPv6 network is another address.")
}

// TestThrottleBelievesNoHeader changes X-Forwarded-For with each try.
func TestThrottleBelievesNoHeader(t *testing.T) {
	g := newGuesser(t)
	forwarded := func(i int) answer {
		r := loginRequestFrom(home, "username=enrico&password=wrong")
		r.Header.Set("X-Forwarded-For", fmt.Sprint("198.51.100.", i))
		r.Header.Set("X-Real-Ip", fmt.Sprint("198.51.100.", i))
		r.Header.Set("Forwarded", fmt.Sprint("for=198.51.100.", i))
		return handle(g.server, r)
	}

	const promise = "Nobody may escape the throttle with a header such as X-Forwarded-For: " +
		"see newThrottleKey in auth.go."
	for i := range 10 {
		forwarded(i).is(t, 401, wrongLogin, promise)
	}
	forwarded(10).is(t, 429, tooManyTries, promise)
}

// TestFaultsAreNoFailures sends forms that are no tries.
func TestFaultsAreNoFailures(t *testing.T) {
	g := newGuesser(t)
	for range 11 {
		handle(g.server, loginRequestFrom(home, "username=enrico")).
			faults(t, []string{"missing body.password"},
				"A log-in without a password must be refused.")
	}
	g.try(home, "enrico", password).contains(t, 200, `"Login successful"`,
		"A request that is no try must not be counted as a failure.")
}

// TestThrottleMemory records failures for more names than the throttle remembers.
func TestThrottleMemory(t *testing.T) {
	g := newGuesser(t)
	most := 0
	for i := range 10_100 {
		g.throttle.checkAndCount(newThrottleKey(fmt.Sprint(i), home), false, g.clock)
		most = max(most, len(g.throttle.counts))
	}
	same(t, "the most pairs that were remembered", most, 10_000,
		"The throttle must remember at most 10,000 pairs.")
}

// TestTogether sends requests at the same moment. No more get through than one by one.
func TestTogether(t *testing.T) {
	s := newService(t)
	spellings := []string{"enrico", "Enrico", "ENRICO", "enRICO"}
	answers := together(40, func(i int) int { return s.postSignup(signupOf(spellings[i%4])).status })
	same(t, "answers to 40 sign-ups of one name, by status", fmt.Sprint(answers),
		"map[201:1 400:39]",
		"Of many sign-ups with one name, one must succeed: see create in store.go.")

	s.signUpAs(t, "anna")
	for _, row := range []struct{ password, want string }{
		{password, "map[200:40]"},
		{"wrong", "map[401:10 429:30]"},
		{password, "map[429:40]"},
	} {
		answers := together(40, func(int) int { return s.logInAs("anna", row.password).status })
		same(t, "answers to 40 log-ins with "+row.password+", by status", fmt.Sprint(answers), row.want,
			"Of parallel tries, no more may be answered than one by one: see count in auth.go.")
	}
}

// TestSlowClients sends a byte a second, by synctest's clock.
func TestSlowClients(t *testing.T) {
	const signup = "POST /auth/signup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for _, row := range []struct {
		name, begin string
		limit       time.Duration
		want        string // in the answer
	}{
		{"headers", "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", 5 * time.Second, ""},
		{"a body", signup + "Content-Length: 60000\r\n\r\n", 10 * time.Second, brokenBody},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Read what comes, meanwhile.
				ours := servePipe(t)
				received := make(chan string)
				go func() {
					text, _ := io.ReadAll(ours)
					received <- string(text)
				}()

				// Send until the service doesn't take more.
				began := time.Now()
				for text := row.begin; ; text = "x" {
					if _, err := io.WriteString(ours, text); err != nil {
						break
					}
					time.Sleep(time.Second)
				}

				took := time.Since(began)
				check(t, took >= row.limit && took <= row.limit+2*time.Second,
					"A client that is too slow must be cut off: see newHTTPServer in main.go.",
					"it was cut off after %v\nwant about %v", took, row.limit)
				text := <-received
				check(t, strings.Contains(text, row.want), "A body that is too slow must get 400.",
					"came\n%s\nwant %s", text, row.want)
			})
		})
	}
}

// servePipe serves a connection that needs no network, since synctest's clock stands still while a
// network is waited for.
func servePipe(t *testing.T) net.Conn {
	ours, theirs := net.Pipe()
	handler := newHandler(newServer(newStore(t, discard), nil, time.Hour, 4), nil, discard)
	srv := newHTTPServer(handler, discard)
	listener := make(pipeListener, 1)
	listener <- theirs
	go srv.Serve(listener)
	t.Cleanup(func() { srv.Close() })
	return ours
}

// TestLargeHeaders sends 32 KiB of headers.
func TestLargeHeaders(t *testing.T) {
	t.Parallel() // net/http waits half a second before it closes
	a := newService(t).raw(t, "GET /healthz\r\nX-Large: "+strings.Repeat("x", 32<<10), "")
	same(t, "the status for 32 KiB of headers", a.status, 431,
		"Headers must not be larger than 16 KiB.")
}

// ---- The documents ----

// TestManual looks for the manual in the README.
func TestManual(t *testing.T) {
	_, manual := runBriefly("", "-h")
	check(t, strings.Contains(readFile(t, "README.md"), manual),
		"The README must have the manual as it is.",
		"it doesn't have what authflow -h prints:\n%s", manual)
}

// TestOpenAPI compares the OpenAPI document with the routes.
func TestOpenAPI(t *testing.T) {
	s := newService(t)
	a := s.send("GET", "/openapi.json", "").
		header(t, "Content-Type", asJSON, "The OpenAPI document must be JSON.")
	var document struct{ Paths map[string]map[string]any }
	must(t, json.Unmarshal([]byte(a.body), &document))

	var documented []string
	for path, methods := range document.Paths {
		for method := range methods {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	for _, request := range []string{
		"POST /auth/signup", "POST /auth/login", "GET /auth/me", "GET /healthz",
	} {
		check(t, slices.Contains(documented, request),
			"The OpenAPI document must have each request of the API.",
			"it has %q\nwant %q too", documented, request)
	}

	mux := routes(s.server)
	for _, request := range documented {
		method, path, _ := strings.Cut(request, " ")
		_, pattern := mux.Handler(httptest.NewRequest(method, path, nil))
		same(t, "the route of "+request, pattern, request,
			"What is documented must have a route: see routes in main.go.")
	}
}

// TestDocumentSize adds up what the page and the OpenAPI document have.
func TestDocumentSize(t *testing.T) {
	s := newService(t)
	page, document := s.send("GET", "/docs", ""), s.send("GET", "/openapi.json", "")
	size := len(page.body) + len(document.body)
	check(t, page.status == 200 && document.status == 200 && size <= 28_672,
		"The page and the OpenAPI document must be small enough to read.",
		"GET /docs came with %d and %d bytes, GET /openapi.json with %d and %d bytes\nwant 200 "+
			"and together at most 28,672 bytes",
		page.status, len(page.body), document.status, len(document.body))
}

// TestREADME runs the README's sh blocks, one after the other. The json blocks are their output.
// The text block is what -v logs.
func TestREADME(t *testing.T) {
	need(t, "curl")
	readme := readFile(t, "README.md")
	p := start(t, "-v")

	// One script of all sh blocks. Where a json block comes, it prints a mark.
	script, want := "", ""
	blocks := regexp.MustCompile("(?s)\n```(sh|json)\n(.*?)```").FindAllStringSubmatch(readme, -1)
	for _, block := range blocks {
		if block[1] == "json" {
			script += "echo ====\n"
			want += block[2] + "====\n"
		} else {
			script += block[2]
		}
	}
	script = strings.ReplaceAll(script, "http://127.0.0.1:8000", p.url)
	shell := exec.Command(need(t, "bash"), "-c", script)
	shell.Dir = filepath.Dir(p.path)
	out, err := shell.Output()
	must(t, err)

	// Each token is another one.
	token := regexp.MustCompile(`eyJ[\w.…-]+`)
	same(t, "what the sh blocks print",
		token.ReplaceAllString(string(out), "eyJ…"), token.ReplaceAllString(want, "eyJ…"),
		"What the README shows must be what comes.")
	check(t, strings.Count(want, "====") >= 5, "The README must show its requests.",
		"it has %d json blocks, want at least 5", strings.Count(want, "===="))

	// Of the log, leave out what differs from run to run.
	p.kill()
	_, log, _ := strings.Cut(p.log.String(), "users="+p.path+"\n")
	volatile := regexp.MustCompile(`time=\S+ |took=\S+|addr=\S+`)
	steps := regexp.MustCompile("(?s)\n```text\n(.*?)```").FindStringSubmatch(readme)
	if steps == nil {
		t.Fatal("The README must show in a text block what -v logs.")
	}
	log, shown := volatile.ReplaceAllString(log, ""), volatile.ReplaceAllString(steps[1], "")
	check(t, strings.HasPrefix(log, shown), "The README must show what -v logs.",
		"-v logs\n%s\nwant that it begins as the README says:\n%s", log, shown)
}

// ---- The page ----
//
// These tests open the page of /docs in Chromium, as a class sees it. The type browser, which drives
// Chromium, stands at the end of this part.

// pageParts are the tests of the page. Each runs alone, too: go test -run TestPage/three_clicks
var pageParts = []struct {
	name string
	run  func(*testing.T, *browser)
}{
	{"three clicks", pageThreeClicks},
	{"nothing moves", pageKeepsStill},
	{"forged token", pageForgedToken},
	{"void tokens", pageVoidTokens},
	{"the server's clock", pageClock},
	{"wrong log-in", pageWrongLogin},
	{"faults", pageFaults},
	{"late answer", pageLateAnswer},
	{"markup", pageMarkup},
	{"curl", pageCurl},
	{"phones", pagePhones},
	{"another origin", pageOfAnotherOrigin},
}

// TestPage opens the page in one browser, which all its parts share.
func TestPage(t *testing.T) {
	t.Parallel() // with TestSlowDisk, which waits too
	b := newBrowser(t)
	for _, part := range pageParts {
		t.Run(part.name, func(t *testing.T) {
			b := &browser{t, b.session}
			b.resize(1280, 720)
			part.run(t, b)

			// Chromium itself notes each answer of 400 to 499 in the console.
			for _, line := range b.console() {
				if !strings.Contains(line, "the server responded with a status of 4") {
					t.Errorf("the console of the page says %s, want no error", line)
				}
			}
		})
	}
}

// Three clicks lead from nothing to "You are enrico": the forms hold example values, and each
// answer fills in the next form. A name that is taken leads on, too.
func pageThreeClicks(t *testing.T, b *browser) {
	p := start(t, "-cost", "4")
	b.open(p.url + "/docs")

	// The three clicks.
	b.press("Sign up", "201 Created")
	b.shows("#verdict", "users.json", "after a sign-up, the class is sent to the file that has the hash")
	b.press("Log in", "200 OK")
	b.press("Who am I?", "You are enrico. The signature fits")
	b.shows("#request", "Authorization: Bearer "+b.value("Token"), "the page shows the request as it was sent")

	// A second sign-up finds the name taken. The page proposes another one, which works as well.
	b.press("Sign up", "Username already exists. Log in, or sign up again as enrico2")
	b.press("Sign up", "201 Created")
	if got := b.script(`return document.querySelector("#login-username").value`); got != "enrico2" {
		t.Errorf("after the sign-up of enrico2, the username of step 2 is %q, want enrico2: "+
			"each sign-up hands its name to the log-in", got)
	}
	b.press("Log in", "200 OK")
	b.press("Who am I?", "You are enrico2")
}

// Nothing moves: on the screens of a class room the page never scrolls, in any state, and its
// buttons stay where they are. What is read from the back row has 18 pixels or more.
func pageKeepsStill(t *testing.T, b *browser) {
	for _, size := range []struct{ width, height int }{{1280, 720}, {1366, 650}} {
		t.Run(fmt.Sprintf("%dx%d", size.width, size.height), func(t *testing.T) {
			b := &browser{t, b.session}
			p := start(t, "-cost", "4")
			b.resize(size.width, size.height)
			b.open(p.url + "/docs")

			// still compares with the start. The marks that show a status are no buttons of the
			// start.
			const layout = `
				const buttons = [...document.querySelectorAll("button")].filter((button) =>
					!button.closest("h2, #wire"));
				const places = buttons.map((button) => {
					const { x, y, width } = button.getBoundingClientRect();
					const numbers = [x, y, width].map((value) => Math.round(value));
					return button.textContent + " " + numbers.join(" ");
				});
				const page = document.documentElement;
				return [page.scrollWidth + "x" + page.scrollHeight, ...places].join(", ");`
			before := b.script(layout)
			want := fmt.Sprintf("%dx%d, ", size.width, size.height)
			if !strings.HasPrefix(before, want) {
				t.Errorf("at the start the page has %s, want %s: it must not scroll", before, want)
			}
			still := func(state string) {
				t.Helper()
				if after := b.script(layout); after != before {
					t.Errorf("%s the page and its buttons are at\n%s, want\n%s as at the start: "+
						"nothing moves", state, after, before)
				}
			}

			// Faults in all fields, the longest that there are.
			b.fill("Username", strings.Repeat("é", 65))
			b.fill("Email", "x")
			b.fill("Password", "p")
			b.press("Sign up", "422")
			still("after three faults")

			// The way from the sign-up to the user.
			b.fill("Username", "enrico")
			b.fill("Email", "enrico@example.com")
			b.fill("Password", "plaintextpassword")
			b.press("Sign up", "201")
			still("after a sign-up")
			b.press("Sign up", "400")
			still("after a taken name")
			b.press("Log in", "200")
			still("after a log-in")
			b.isWhole("#answer", "the answer with the token")
			b.press("Who am I?", "You are")
			still("after Who am I?")

			// A forged token.
			b.editPayload(`"1"`, `"2"`)
			still("after an edit of the payload")
			b.press("Who am I?", "401")
			still("after a refused token")
			b.press("Restore", "Restored")
			still("after Restore")

			// A wrong log-in, the curl text, and no server.
			b.fill("#login-password", "wrong")
			b.press("Log in", "401")
			still("after a wrong log-in")
			b.script(`document.querySelector("#curl").click()`)
			still("with the curl text")
			p.kill()
			b.press("Who am I?", "No answer")
			still("without a server")

			b.console() // the request without a server

			// The size of the type.
			const small = `
				const texts = ["#request", "#answer", "#payload", "#header-json", "#payload-json"];
				return texts.filter((text) =>
					parseFloat(getComputedStyle(document.querySelector(text)).fontSize) < 18).join();`
			if got := b.script(small); got != "" {
				t.Errorf("%s has type of less than 18 pixels: it is read from the back row", got)
			}
		})
	}
}

// The payload can be edited. The token follows, the first character that differs is marked, the
// refusal says what was changed, and one button restores the token.
func pageForgedToken(t *testing.T, b *browser) {
	p := start(t, "-cost", "4")
	b.open(p.url + "/docs")
	b.press("Sign up", "201")
	b.press("Log in", "200")
	given := b.value("Token")

	// Another user's id.
	b.editPayload(`"1"`, `"2"`)
	b.shows("#verdict", "You changed the payload. It is not sent yet", "an edit is said at once")
	parts := strings.Split(b.value("Token"), ".")
	claims, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if !strings.HasPrefix(string(claims), `{"sub":"2","iat":`) {
		t.Errorf("after an edit of the payload to user 2 the token holds %s: it must follow at once", claims)
	}

	// The mark: the first character of the payload that isn't as it was.
	was, same := strings.Split(given, ".")[1], 0
	for was[same] == parts[1][same] {
		same++
	}
	marked := b.script(`const mark = document.querySelector("#payload mark");
		return mark.previousSibling.textContent + "[" + mark.textContent + "]"`)
	if want := parts[1][:same] + "[" + parts[1][same:same+1] + "]"; marked != want {
		t.Errorf("the page marks %s, want %s: the first character that differs is marked",
			marked, want)
	}

	// The server refuses it, and the page knows why.
	b.press("Who am I?", "401 Unauthorized")
	const refused = "You changed the payload. The signature no longer fits"
	b.shows("#verdict", refused, "a refusal says what was changed")
	b.press("Restore", "Restored")
	if got := b.value("Token"); got != given {
		t.Errorf("Restore brings %s, want %s: the token as it was given", got, given)
	}
	b.press("Who am I?", "You are enrico")

	// Other changes have other words.
	forged := strings.Repeat("A", 43)
	for _, row := range []struct{ name, token, want string }{
		{"the signature", given[:len(given)-43] + forged, "You changed the signature"},
		{"both", strings.Join(parts[:2], ".") + "." + forged, "You changed the payload and the signature"},
		{"two parts", strings.Join(parts[:2], "."), "You changed the token"},
		{"no token", "", "No token was sent"},
		{"an emoji", "😀", "Nothing was sent"},
	} {
		b.fill("Token", row.token)
		b.press("Who am I?", row.want)
	}

	// Half a JSON is no lie: it is said to be none.
	b.press("Restore", "Restored")
	b.editPayload(`"}`, `"`)
	b.shows("#verdict", "It is no JSON now", "half a JSON is said to be none")

	// People paste tokens in many forms. They are the same token.
	for _, form := range []string{"Bearer %s", `"%s"`, " %s\n", "Authorization: Bearer %s"} {
		b.fill("Token", "x")
		b.fill("Token", fmt.Sprintf(form, given))
		b.shows("#verdict", "Restored", form+" is the same token")
	}
}

// An expired token is called expired. A token of a disabled user is not called forged: the page
// can't know, and says what it may be.
func pageVoidTokens(t *testing.T, b *browser) {
	p := start(t, "-cost", "4", "-token-ttl", "3s")
	b.open(p.url + "/docs")
	b.press("Sign up", "201")
	b.press("Log in", "200")

	// Disable the user while the token is good.
	users := readFile(t, p.path)
	writeFile(t, p.path, strings.Replace(users, `"is_active":true`, `"is_active":false`, 1))
	b.press("Who am I?", "401")
	b.shows("#verdict", "You changed nothing.", "a disabled user's token is not called forged")
	b.shows("#verdict", "the user was changed, disabled or removed", "the page says what it may be")

	// Enable the user again, and wait until the page's own countdown ends.
	writeFile(t, p.path, users)
	b.shows("#age", "expired", "the page counts the seconds of a token")
	b.press("Who am I?", "It has expired")
}

// Time is the server's: the page counts by the Date of each answer, and not by the clock of the
// class room's computer.
func pageClock(t *testing.T, b *browser) {
	// A server whose clock is a day behind. Its token is good for nearly 25 hours.
	now := time.Now().Add(-24 * time.Hour)
	exp := now.Add(25*time.Hour - 5*time.Second).Unix()
	claims := fmt.Sprintf(`{"sub":"1","iat":%d,"exp":%d}`, now.Unix(), exp)
	encode := base64.RawURLEncoding.EncodeToString
	header := encode([]byte(`{"alg":"HS256","typ":"JWT"}`))
	token := header + "." + encode([]byte(claims)) + "." + strings.Repeat("A", 43)
	url := servePage(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		fmt.Fprintf(w, `{"access_token":%q}`, token)
	})

	// The time that is left, with hours, and a date that isn't the server's today.
	b.open(url + "/docs")
	b.press("Log in", "200")
	b.shows("#age", "24:59:5", "the page counts by the server's clock")
	date := b.script(`return new Date(a * 1000).toLocaleDateString()`, exp)
	b.shows("#notes", "expires: "+date, "an exp that isn't today is shown with its date")

	// Whoever makes an exp by hand may make one that is no date.
	b.fill("#payload-json", `{"exp": 12345678901234}`)
	b.shows("#notes", "no date", "an exp that is no date is said to be none")
}

// A wrong log-in says so, and leaves the token of the last log-in alone.
func pageWrongLogin(t *testing.T, b *browser) {
	p := start(t, "-cost", "4")
	b.open(p.url + "/docs")
	b.press("Sign up", "201")
	b.press("Log in", "200")
	given := b.value("Token")

	// The wrong password.
	b.fill("#login-password", "wrong")
	b.press("Log in", "Invalid credentials. You get no new token")
	if got := b.value("Token"); got != given {
		t.Errorf("after a wrong log-in the token is %q, want %q: it leaves the good token alone",
			got, given)
	}
	b.press("Who am I?", "You are enrico")

	// No answer at all.
	p.kill()
	b.press("Log in", "No answer. Is the server running?")
	if got := b.value("Token"); got != given {
		t.Errorf("without a server the token is %q, want %q: it leaves the good token alone", got, given)
	}
	b.console() // the request without a server
}

// A fault stands at its form and marks its field, and the first faulty field has the focus. The
// next try clears it.
func pageFaults(t *testing.T, b *browser) {
	p := start(t, "-cost", "4")
	b.open(p.url + "/docs")
	b.fill("Username", "en rico")
	b.fill("Password", "short")
	b.press("Sign up", "422 Unprocessable Entity")

	// The same once more: the faults of the first try are gone.
	first := b.text("#signup")
	b.press("Sign up", "422 Unprocessable Entity")
	if again := b.text("#signup"); again != first {
		t.Errorf("after the same faults twice the form says %q, want %q: an old fault must be gone",
			again, first)
	}

	// Where the faults are.
	const promise = "a fault stands at its form"
	b.shows("#signup p", "Username should have only ASCII letters, digits and . _ - @ +.", promise)
	b.shows("#signup p", "Password should have at least 8 characters.", promise)
	marked := b.script(`
		return [...document.querySelectorAll("[aria-invalid=true]")].map((field) => field.id).join();`)
	focused := b.script(`return document.activeElement.id`)
	if marked != "signup-username,signup-password" || focused != "signup-username" {
		t.Errorf("after faults in Username and Password, %s are marked and %s has the focus, "+
			"want both marked and the first focused", marked, focused)
	}

	// A good sign-up.
	b.fill("Username", "enrico")
	b.fill("Password", "plaintextpassword")
	b.press("Sign up", "201")
	if form := b.text("#signup"); strings.Contains(form, "should have") {
		t.Errorf("after a good sign-up its form says %q: an old fault must be gone", form)
	}
}

// An answer that comes late is told. It overwrites nothing that was typed after the request left,
// and it doesn't take the focus.
func pageLateAnswer(t *testing.T, b *browser) {
	p := start(t, "-cost", "4")
	b.open(p.url + "/docs")
	b.press("Sign up", "201")
	b.press("Log in", "200")

	// hold makes each answer wait until the test releases it.
	const hold = `const send = fetch;
		window.fetch = async (...args) => {
			const answer = await send(...args);
			await new Promise((resolve) => { window.release = resolve; });
			return answer;
		};`
	b.script(hold)
	release := func() {
		t.Helper()
		await(t, "the held answer", func() bool { return b.script(`return typeof release`) == "function" })
		b.script(`release(); delete window.release`)
	}

	// The name is taken, but the user is typing another one by now.
	b.press("Sign up", "Sending…")
	b.fill("Username", "anna")
	b.shows("#verdict", "Sending…", "a request that is on its way is not called unsent")
	release()
	b.shows("#verdict", "You have edited since", "an answer to an earlier text is said to be one")
	if got := b.value("Username"); got != "anna" {
		t.Errorf("a late answer makes %q of the username anna, which was typed meanwhile", got)
	}

	// The token is good, but the payload is another one by now.
	b.press("Who am I?", "Sending…")
	b.editPayload(`"1"`, `"2"`)
	release()
	b.shows("#verdict", "You have edited since", "an answer to an earlier token is said to be one")
	if class := b.script(`return document.querySelector("#verdict").className`); class == "good" {
		t.Error("an answer to an earlier token is green beside the edited one: it must not be stale")
	}

	// A token that was forgotten meanwhile doesn't come back.
	b.press("Log in", "Sending…")
	b.press("Forget", "Forgotten here")
	release()
	b.press("Restore", "Forgotten here")
	if got := b.value("Token"); got != "" {
		t.Errorf("a token that was forgotten comes back with the late answer: %q", got)
	}
}

// What is typed and what is answered stays text: it never becomes markup.
func pageMarkup(t *testing.T, b *browser) {
	const markup = `<img src=x><b>it's</b> & "bold"`

	// A server with the same page, whose answers the page doesn't expect.
	type reply struct {
		status int
		body   string
	}
	replies := make(chan reply, 1)
	url := servePage(t, func(w http.ResponseWriter, r *http.Request) {
		reply := <-replies
		w.WriteHeader(reply.status)
		io.WriteString(w, reply.body)
	})

	// What a student may type.
	b.open(url + "/docs")
	b.fill("Username", markup)
	b.fill("Password", markup)

	// Each answer comes with two statuses. The page must leave "Sending…", and say no words of a program.
	programWords := regexp.MustCompile(`undefined|\[object|NaN`)
	for _, status := range []int{422, 201} {
		for _, body := range []string{
			`{"detail":"<b>bold</b>"}`,
			`{"detail":[{"loc":["body","password"],"msg":"<b>bold</b>"},{"loc":7,"msg":{}},null,7]}`,
			`{"detail":[{"loc":["body","email"],"msg":{}}]}`,
			`<b>bold</b>`, `null`, ``, `{"user_id":{}}`, `[[]]`,
		} {
			replies <- reply{status, body}
			b.press("Sign up", fmt.Sprint(status))

			// What a student reads now.
			if text := b.text("body"); programWords.MatchString(text) {
				t.Errorf("after %d %s the page says %q: a student must not see such words",
					status, body, text)
			}
		}
	}

	// No element was made of it, neither of what was typed nor of what was answered.
	made := b.script(`
		return String(document.querySelectorAll("img, #steps b, #wire b, #verdict b").length);`)
	if made != "0" {
		t.Errorf("markup that was typed or answered became %s elements, want 0: it stays text",
			made)
	}
	b.shows("#request", `<img src=x>`, "the request is shown as it was sent")
}

// The curl text works in bash and repeats the request. What is copied has the true password, also
// if the screen masks it.
func pageCurl(t *testing.T, b *browser) {
	bash := need(t, "bash")
	p := start(t, "-cost", "4")
	b.open(p.url + "/docs")

	// A password with all that a shell takes for its own. The page says nothing of it.
	const hard = `it's $HOME "and" \ back & <b>`
	b.fill("Password", hard)
	b.press("Sign up", "201")
	if text := b.text("body"); strings.Contains(text, "HOME") {
		t.Errorf("the page shows the password %q in\n%s\nwant it masked until it is to be shown",
			hard, text)
	}

	// copied returns what the Copy button puts on the clipboard.
	copied := func() string {
		b.script(`addEventListener("copy", ({ clipboardData }) => {
			clipboardData.setData = (_, text) => { window.copied = text; };
		}, { once: true })`)
		b.click("#copy")
		return b.script(`return window.copied`)
	}

	// runs gives a text to bash.
	runs := func(text, want string) {
		t.Helper()
		out, err := exec.Command(bash, "-c", text).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("bash runs\n%s\nand says %v\n%s\nwant %s: the curl text repeats the request",
				text, err, out, want)
		}
	}

	// Both requests with the password.
	b.script(`document.querySelector("#curl").click()`)
	runs(copied(), "Username already exists")
	b.press("Log in", "200")
	b.shows("#request", "--data 'username=enrico&password=***'", "the screen masks the password")
	runs(copied(), "Login successful")

	// With the token, and once the passwords are shown.
	b.press("Who am I?", "You are enrico")
	runs(b.text("#request"), `"username":"enrico"`)
	b.script(`document.querySelector("#reveal").click()`)
	b.click("#login h2 button")
	b.shows("#request", "password=it%27s+%24HOME", "Show passwords shows them in the request, too")
}

// Phones: the page is as wide as the screen, and no control lies over another.
func pagePhones(t *testing.T, b *browser) {
	p := start(t, "-cost", "4")
	for _, width := range []int{320, 390} {
		b.resize(width, 800)
		b.open(p.url + "/docs")
		b.press("Sign up", " ms.")
		b.press("Log in", "200 OK")

		// The width, and the controls that overlap.
		wide := b.script(`return String(document.documentElement.scrollWidth)`)
		if wide != fmt.Sprint(width) {
			t.Errorf("on a phone of %d pixels the page is %s wide: it must not scroll sideways",
				width, wide)
		}
		const overlapping = `
			const controls = [...document.querySelectorAll("input, button, textarea, a")].map((control) =>
				({ control, box: control.getBoundingClientRect() })).filter(({ box }) => box.width);
			const over = (p, q) => p.left < q.right - 1 && q.left < p.right - 1 &&
				p.top < q.bottom - 1 && q.top < p.bottom - 1;
			return controls.filter((p, i) => controls.some((q, j) => j > i && over(p.box, q.box)))
				.map(({ control }) => control.outerHTML).join();`
		if over := b.script(overlapping); over != "" {
			t.Errorf("on a phone of %d pixels these controls lie over another: %s", width, over)
		}
	}
}

// A page of an allowed origin runs the whole flow and may read what it needs. A page of any other
// origin can't.
func pageOfAnotherOrigin(t *testing.T, b *browser) {
	front := httptest.NewServer(http.NotFoundHandler())
	defer front.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	p := start(t, "-cost", "4", "-allow-origin", front.URL)

	// The flow as somebody's own front end would write it.
	const flow = `
		const user = { username: "anna", email: "a@b", password: "plaintextpassword" };
		const send = (path, headers, body) =>
			fetch(a + "/auth/" + path, { method: body ? "POST" : "GET", headers, body });
		const signup = await send("signup", { "Content-Type": "application/json" }, JSON.stringify(user));
		const login = await send("login", {}, new URLSearchParams(user));
		const token = (await login.json()).access_token;
		const me = await send("me", { Authorization: "Bearer " + token });
		const refused = await send("me", { Authorization: "Bearer x" });
		const header = refused.headers.get("WWW-Authenticate");
		return [signup.status, (await me.json()).username, header].join();`
	b.open(front.URL)
	want := `201,anna,Bearer realm="auth", error="invalid_token"`
	if got := b.script(flow, p.url); got != want {
		t.Errorf("a page of the allowed origin %s gets %s, want %s", front.URL, got, want)
	}

	// The same from elsewhere.
	b.open(other.URL)
	want = "TypeError: Failed to fetch"
	if got := b.script(flow, p.url); got != want {
		t.Errorf("a page of %s gets %s, want %s: only allowed origins may call the API",
			other.URL, got, want)
	}
	b.console() // Chromium says why it refused
}

// The policy allows this one script and this one style, known by their digests, and nothing of
// another host. The page has no function that makes markup of text. With the OpenAPI document it is
// small enough to read.
func TestPagePolicy(t *testing.T) {
	service := api{url: start(t).url}
	page, err := service.try("GET", "/docs", "")
	must(t, err)

	// The digests, computed here once more.
	digest := func(element string) string {
		pattern := regexp.MustCompile(`(?s)<` + element + `>(.*?)</` + element + `>`)
		parts := pattern.FindAllStringSubmatch(page.body, -1)
		if len(parts) != 1 {
			t.Fatalf("the page has %d <%s> elements, want 1: the policy names one digest",
				len(parts), element)
		}
		sum := sha256.Sum256([]byte(parts[0][1]))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}

	// The whole policy.
	want := "default-src 'none'; script-src " + digest("script") + "; style-src " + digest("style") +
		"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	if got := page.headers.Get("Content-Security-Policy"); got != want {
		t.Errorf("the policy of the page is\n%s, want\n%s: only its own script and style may run",
			got, want)
	}

	// What the page must not have.
	forbidden := regexp.MustCompile(`https?:|//cdn|innerHTML|insertAdjacentHTML|` +
		`document\.write|eval\(| on\w+=|localStorage`)
	if found := forbidden.FindString(page.body); found != "" {
		t.Errorf("the page has %q: nothing of another host, no markup made of text, nothing stored", found)
	}

	// The size.
	document, err := service.try("GET", "/openapi.json", "")
	must(t, err)
	if size := len(page.body) + len(document.body); size > 28_672 {
		t.Errorf("the page and the OpenAPI document have %d bytes, want 28672 at most", size)
	}
}

// servePage serves the page of the real program beside answers of the test. It returns the URL.
func servePage(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	page, err := api{url: start(t).url}.try("GET", "/docs", "")
	must(t, err)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/docs" {
			answer(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", page.headers.Get("Content-Security-Policy"))
		io.WriteString(w, page.body)
	}))
	t.Cleanup(web.Close)
	return web.URL
}

// A browser is one window of a headless Chromium. Its methods end the test if they can't go on.
type browser struct {
	t       *testing.T
	session string // http://127.0.0.1:9515/session/5bf6…
}

// newBrowser starts ChromeDriver, which starts Chromium. Both end with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	chromium := need(t, "chromium")
	driver := exec.Command(need(t, "chromedriver"), "--port=0")
	out, err := driver.StdoutPipe()
	must(t, err)
	must(t, driver.Start())
	t.Cleanup(func() {
		driver.Process.Kill()
		driver.Wait()
	})

	// ChromeDriver says which port it took.
	port := ""
	for lines := bufio.NewScanner(out); port == "" && lines.Scan(); {
		if match := regexp.MustCompile(`on port (\d+)\.`).FindStringSubmatch(lines.Text()); match != nil {
			port = match[1]
		}
	}
	if port == "" {
		t.Fatal("ChromeDriver ended before it said its port")
	}
	go io.Copy(io.Discard, out)
	b := &browser{t, "http://127.0.0.1:" + port + "/session"}

	// A session of its own: a fresh profile, and nothing that Chromium would load by itself.
	args := strings.Fields("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run " +
		"--disable-background-networking --disable-component-update --disable-sync")
	options := object{"binary": chromium, "args": append(args, "--user-data-dir="+t.TempDir())}
	logs := object{"browser": "ALL"}
	created := b.call("POST", "", object{"capabilities": object{"alwaysMatch": object{
		"goog:chromeOptions": options, "goog:loggingPrefs": logs}}})
	var session struct{ SessionID string }
	must(t, json.Unmarshal(created, &session))
	b.session += "/" + session.SessionID
	t.Cleanup(func() { b.call("DELETE", "", object{}) })
	return b
}

type object map[string]any

// call sends a WebDriver command and returns its value.
func (b *browser) call(method, path string, parameters object) json.RawMessage {
	b.t.Helper()
	text, _ := json.Marshal(parameters)
	a, err := api{url: b.session}.try(method, path, string(text))
	var reply struct{ Value json.RawMessage }
	if json.Unmarshal([]byte(a.body), &reply); err != nil || a.status != 200 {
		b.t.Fatalf("ChromeDriver answers %s %s %s with %v %d %s",
			method, path, text, err, a.status, a.body)
	}
	return reply.Value
}

// open loads a page.
func (b *browser) open(url string) {
	b.t.Helper()
	b.call("POST", "/url", object{"url": url})
}

// resize sets the size of the visible page.
func (b *browser) resize(width, height int) {
	b.t.Helper()
	metrics := object{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
	b.call("POST", "/goog/cdp/execute", object{
		"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics})
}

// script runs JavaScript in the page, with its arguments in a and b. It returns the string that the
// script returns, or its error.
func (b *browser) script(text string, args ...any) (result string) {
	b.t.Helper()
	text = "let [a, b, done] = arguments;" +
		"(async () => {" + text + "})().then(done, (error) => done(String(error)))"
	args = append(args, "", "")[:2]
	json.Unmarshal(b.call("POST", "/execute/async", object{"script": text, "args": args}), &result)
	return result
}

// field finds an input by its label (the first of that name), or any element by a selector like
// #login-password.
const field = `
	const labels = [...document.querySelectorAll("label")];
	const label = labels.find((label) => label.textContent.trim() === a);
	const field = label?.control ?? document.querySelector(a);`

// fill types a text into a field. The old text goes.
func (b *browser) fill(name, text string) {
	b.t.Helper()
	const typed = `
		field.focus();
		field.value = b;
		field.dispatchEvent(new Event("input", { bubbles: true }));`
	b.script(field+typed, name, text)
}

// value returns the text of a field.
func (b *browser) value(name string) string {
	b.t.Helper()
	return b.script(field+`return field.value`, name)
}

// editPayload replaces a piece of the decoded payload.
func (b *browser) editPayload(old, new string) {
	b.t.Helper()
	b.fill("#payload-json", strings.Replace(b.value("#payload-json"), old, new, 1))
}

// press clicks the button of that name, and waits until the verdict has a text. A button that lies
// under something else can't be clicked by a user, and not by press.
func (b *browser) press(name, verdict string) {
	b.t.Helper()
	const click = `
		const buttons = [...document.querySelectorAll("button")];
		const button = buttons.find((button) => button.textContent.trim() === a);
		button.scrollIntoView({ block: "center" });
		const { left, top, width, height } = button.getBoundingClientRect();
		const hit = document.elementFromPoint(left + width / 2, top + height / 2);
		if (hit !== button) return "lies under " + hit?.outerHTML;
		button.click();`
	if fault := b.script(click, name); fault != "" {
		b.t.Fatalf("the button %q can't be clicked: %s", name, fault)
	}
	b.shows("#verdict", verdict, "the verdict says what "+name+" did")
}

// click clicks with the mouse. Only after a real click may a page write to the clipboard.
func (b *browser) click(selector string) {
	b.t.Helper()
	var element map[string]string
	found := b.call("POST", "/element", object{"using": "css selector", "value": selector})
	must(b.t, json.Unmarshal(found, &element))
	for _, id := range element {
		b.call("POST", "/element/"+id+"/click", object{})
	}
}

// text returns what a reader sees of an element.
func (b *browser) text(selector string) string {
	b.t.Helper()
	return b.script(`return document.querySelector(a).innerText`, selector)
}

// shows waits up to five seconds until an element has a text.
func (b *browser) shows(selector, text, promise string) {
	b.t.Helper()
	const wait = `
		const element = document.querySelector(a), end = Date.now() + 5_000;
		while (!element.textContent.includes(b) && Date.now() < end) {
			await new Promise((done) => setTimeout(done, 5));
		}
		return element.textContent;`
	if got := b.script(wait, selector, text); !strings.Contains(got, text) {
		b.t.Fatalf("the page shows %q in %s, want %q: %s", got, selector, text, promise)
	}
}

// isWhole checks that an element shows all of its text, without a bar to scroll it.
func (b *browser) isWhole(selector, what string) {
	b.t.Helper()
	heights := b.script(`const { scrollHeight, clientHeight } = document.querySelector(a);
		return scrollHeight > clientHeight ? scrollHeight + " pixels in " + clientHeight : ""`, selector)
	if heights != "" {
		b.t.Errorf("%s has %s: the class must see it whole", what, heights)
	}
}

// console returns what the console has said since the last call.
func (b *browser) console() (lines []string) {
	b.t.Helper()
	var entries []struct{ Message string }
	must(b.t, json.Unmarshal(b.call("POST", "/se/log", object{"type": "browser"}), &entries))
	for _, entry := range entries {
		lines = append(lines, entry.Message)
	}
	return lines
}

// ---- Fuzzing ----

// FuzzUsersFile reads any text as a users file, and saves into it. All users stay, and a fault has
// a line or a user.
func FuzzUsersFile(f *testing.F) {
	hash := newHash(f, password, 4)
	for _, seed := range []string{
		readFile(f, "users.json.example"), twoUsers(hash),
		"", "[ ]\n", "\ufeff[]", "[\n]]", "[}", "\xff",
		`[{"note":"]",` + userLine(1, "enrico", hash, true)[1:] + `]`,
	} {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "users.json")
	place := regexp.MustCompile(`users\.json: (line \d+|user \d+ \(".*"\)|not UTF-8): .+$`)

	f.Fuzz(func(t *testing.T, text string) {
		writeFile(t, path, text)
		s, err := openStore(path, discard)
		if err != nil {
			check(t, place.MatchString(err.Error()), "A fault must have a line or a user.",
				"the file %q came with %s\nwant something like %s", text, errorText(err), place)
			return
		}

		_, err = s.create(
			user{Username: "fuzz-user", Email: "a@b", HashedPassword: hash, IsActive: true})
		if err != nil {
			check(t, errors.Is(err, errExists),
				"A file without a fault must take one more user: see create in store.go.",
				"the file %q came with %v", text, err)
			return
		}
		again, err := openStore(path, discard)
		must(t, err)
		same(t, fmt.Sprintf("the users after a save into %q", text), usersOf(again), usersOf(s),
			"The file must have what the store has.")
	})
}

// usersOf prints the users of a store, ordered by their ids.
func usersOf(s *store) string {
	users := map[int64]user{}
	for id, u := range s.current().byID {
		users[id] = *u
	}
	return fmt.Sprint(users)
}

// ---- Benchmarks ----
//
// Speeds are ratios of two things that are measured in turn, since machines differ and are shared.

const (
	benchCost = "12"            // the program's own
	benchTurn = 4 * time.Second // how long each of the two is measured
)

// perSecond returns how often n clients together can call f in a second.
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

// times returns how long each call of f took, the shortest first.
func times(f func()) (took []time.Duration) {
	for start := time.Now(); time.Since(start) < benchTurn; {
		before := time.Now()
		f()
		took = append(took, time.Since(before))
	}
	slices.Sort(took)
	return took
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// report reports the median and the 99th percentile of the time of f.
func report(b *testing.B, name string, f func()) {
	took := times(f)
	b.ReportMetric(milliseconds(took[len(took)/2]), name+"-p50-ms")
	b.ReportMetric(milliseconds(took[len(took)*99/100]), name+"-p99-ms")
}

// BenchmarkHTTP compares GET /auth/me with a bare net/http handler that writes the same bytes. Both
// are processes with 16 clients.
func BenchmarkHTTP(b *testing.B) {
	const promise = "The benchmark needs the right answers."
	p, bare := start(b, "-cost", "4"), start(b, "AUTHFLOW_RUN=bare")
	p.signUpAs(b, "enrico")
	token := p.tokenFor(b, "enrico")
	var ours, theirs float64
	for b.Loop() {
		theirs += perSecond(16, func() { bare.whoAmI(token).is(b, 200, enrico, promise) })
		ours += perSecond(16, func() { p.whoAmI(token).is(b, 200, enrico, promise) })
	}
	b.ReportMetric(ours/theirs, "me/bare")
}

// serveBare is the bare handler. It says where it listens as authflow does.
func serveBare() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "msg=listening url=http://%s\n", listener.Addr())
	http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", asJSON)
		io.WriteString(w, enrico)
	}))
}

// BenchmarkLogin compares 32 clients that log in with bcrypt alone.
func BenchmarkLogin(b *testing.B) {
	p := start(b, "-cost", benchCost)
	p.signUpAs(b, "enrico")
	hash := []byte(newHash(b, password, 12))
	var bcryptAlone, logins float64
	for b.Loop() {
		bcryptAlone += perSecond(processors, func() {
			bcrypt.CompareHashAndPassword(hash, []byte(password))
		})
		logins += perSecond(32, func() { p.tokenFor(b, "enrico") })
	}
	b.ReportMetric(logins/bcryptAlone, "login/bcrypt")
}

// BenchmarkClass lets 40 students sign up at the same moment, and then log in.
func BenchmarkClass(b *testing.B) {
	var signedUp, loggedIn int
	for b.Loop() {
		p := start(b, "-cost", benchCost)
		student := func(i int) string { return fmt.Sprint("student", i) }
		signups := together(40, func(i int) int { return p.postSignup(signupOf(student(i))).status })
		logins := together(40, func(i int) int { return p.logInAs(student(i), password).status })
		signedUp += signups[201]
		loggedIn += logins[200]
	}
	b.ReportMetric(float64(signedUp)/float64(b.N), "signups-of-40")
	b.ReportMetric(float64(loggedIn)/float64(b.N), "logins-of-40")
}

// BenchmarkMe asks who am I: alone, beside 32 log-ins, and beside sign-ups into 100,000 users.
func BenchmarkMe(b *testing.B) {
	many := filepath.Join(b.TempDir(), "users.json")
	manyUsers(b, many, 100_000)
	p, q := start(b, "-cost", benchCost), start(b, "-cost", "4", "-users", many)
	p.signUpAs(b, "enrico")
	token, tokenOfMany := p.tokenFor(b, "enrico"), q.tokenFor(b, "user1")
	const promise = "The benchmark needs the right answers."
	me := func() { p.whoAmI(token).is(b, 200, enrico, promise) }
	meOfMany := func() { q.whoAmI(tokenOfMany).contains(b, 200, `"id":1`, promise) }

	// beside runs f in n clients while measure runs.
	beside := func(n int, f, measure func()) {
		done := make(chan float64)
		go func() { done <- perSecond(n, f) }()
		measure()
		<-done
	}

	i := 0
	for b.Loop() {
		report(b, "alone", me)
		beside(32, func() { p.logInAs("enrico", password) }, func() { report(b, "logins", me) })
		signUp := func() {
			i++
			q.postSignup(signupOf(fmt.Sprint("new", i)))
		}
		beside(1, signUp, func() { report(b, "signups", meOfMany) })
	}
}

// BenchmarkSameTime measures what TestSameWork counts: the time of a refused try over that of the
// right password. Other programs make some tries slow, so the fastest of several counts.
func BenchmarkSameTime(b *testing.B) {
	const cost = 8
	s := newServer(newStore(b, discard), nil, time.Hour, cost)
	edit(b, s.store.path, "["+userLine(1, "enrico", newHash(b, password, cost), true)+"]")
	ctx := context.WithValue(context.Background(), loggerKey{}, discard)
	fastest := func(username, password string) float64 {
		best := time.Hour
		for range 20 {
			start := time.Now()
			s.checkPassword(ctx, loginRequest{username, password})
			best = min(best, time.Since(start))
		}
		return best.Seconds()
	}

	var right, wrong, unknown float64
	for b.Loop() {
		right += fastest("enrico", password)
		wrong += fastest("enrico", "wrong")
		unknown += fastest("nobody", password)
	}
	b.ReportMetric(wrong/right, "wrong/right")
	b.ReportMetric(unknown/right, "unknown/right")
}

// BenchmarkManyUsers compares 100,000 users with none, and reading them with json.Unmarshal.
func BenchmarkManyUsers(b *testing.B) {
	many := filepath.Join(b.TempDir(), "users.json")
	text := manyUsers(b, many, 100_000)
	p, q := start(b, "-cost", benchCost), start(b, "-cost", benchCost, "-users", many)
	took := map[string]time.Duration{}
	measure := func(name string, f func()) {
		start := time.Now()
		f()
		took[name] += time.Since(start)
	}

	i := 0
	for b.Loop() {
		for range 10 {
			i++
			name := fmt.Sprint("new", i)
			measure("none", func() { p.signUpAs(b, name) })
			measure("many", func() { q.signUpAs(b, name) })
		}
		measure("unmarshal", func() { must(b, json.Unmarshal(text, new([]user))) })
		measure("parse", func() { _, err := parseUsers(text); must(b, err) })
		measure("fault", func() { parseUsers(text[:len(text)-2]) }) // without the last bracket
	}
	b.ReportMetric(float64(took["many"])/float64(took["none"]), "many/none")
	b.ReportMetric(float64(took["parse"])/float64(took["unmarshal"]), "parse/unmarshal")
	b.ReportMetric(float64(took["fault"])/float64(took["unmarshal"]), "fault/unmarshal")

	// How much longer does a look-up take?
	token, tokenOfMany := p.tokenFor(b, "new1"), q.tokenFor(b, "new1")
	none := times(func() { p.whoAmI(token) })
	lookUp := times(func() { q.whoAmI(tokenOfMany) })
	b.ReportMetric(milliseconds(lookUp[len(lookUp)/2]-none[len(none)/2]), "lookup-extra-ms")
}

// manyUsers writes a file with n users, all with one password, and returns its text.
func manyUsers(t testing.TB, path string, n int) []byte {
	t.Helper()
	hash := newHash(t, password, 4)
	var text []byte
	for i := 1; i <= n; i++ {
		text = append(text, ",\n"+userLine(i, fmt.Sprint("user", i), hash, true)...)
	}
	text[0] = '['
	text = append(text, "\n]\n"...)
	edit(t, path, string(text))
	return text
}

// ---- Helpers ----

// TestMain lets the test binary be authflow itself, or the bare handler of BenchmarkHTTP.
func TestMain(m *testing.M) {
	switch os.Getenv("AUTHFLOW_RUN") {
	case "authflow":
		go func() { // if the tests are killed, this pipe ends, and so do we
			io.Copy(io.Discard, os.Stdin)
			os.Exit(3)
		}()
		main()
	case "bare":
		serveBare()
	}
	os.Exit(m.Run())
}

var (
	discard  = slog.New(slog.DiscardHandler)
	anyToken = regexp.MustCompile(`"access_token":"[\w-]+\.[\w-]+\.[\w-]+"`)
)

func noEnvironment(string) string { return "" }

// An api is where requests go.
type api struct {
	url  string
	path string // of the users file
	log  *output
}

// A service is the real handler at bcrypt's lowest cost, in this process.
type service struct {
	api
	server *server
}

// newService starts a service with no users. Its log has all steps.
func newService(t testing.TB, origins ...string) *service {
	t.Helper()
	log := &output{}
	return newServiceWith(t, newTestLogger(log), log, origins...)
}

// newTestLogger logs what -v does.
func newTestLogger(log io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func newServiceWith(t testing.TB, logger *slog.Logger, log *output, origins ...string) *service {
	t.Helper()
	users := newStore(t, logger)
	s := newServer(users, []byte("the key"), time.Hour, 4)
	t.Cleanup(func() { // after the last answer
		same(t, "slots that are still taken", len(s.hashing.slots), 0,
			"Who is done must give the slot back, after an error too: see acquire in auth.go.")
	})
	return &service{api{serveOn(t, newHandler(s, origins, logger)), users.path, log}, s}
}

// newStore opens a users file that doesn't exist yet.
func newStore(t testing.TB, log *slog.Logger) *store {
	t.Helper()
	users, err := openStore(filepath.Join(t.TempDir(), "users.json"), log)
	must(t, err)
	return users
}

// serveOn serves a handler with the limits of the program, and returns its address.
func serveOn(t testing.TB, handler http.Handler) string {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	web.Config = newHTTPServer(handler, discard)
	web.Start()
	t.Cleanup(web.Close)
	return web.URL
}

// handle lets a server answer a request that comes over no network.
func handle(s *server, r *http.Request) answer {
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	w := httptest.NewRecorder()
	newHandler(s, nil, discard).ServeHTTP(w, r)
	sent := fmt.Sprintf("%s %s from %s with the headers %v, %s",
		r.Method, r.URL, r.RemoteAddr, r.Header, body)
	return answer{status: w.Code, headers: w.Header(), body: w.Body.String(), sent: sent}
}

func signupRequestFrom(addr, body string) *http.Request {
	r := httptest.NewRequest("POST", "/auth/signup", strings.NewReader(body))
	r.RemoteAddr = addr
	r.Header.Set("Content-Type", asJSON)
	return r
}

func loginRequestFrom(addr, form string) *http.Request {
	r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(form))
	r.RemoteAddr = addr
	r.Header.Set("Content-Type", asForm)
	return r
}

// A program is authflow as a process.
type program struct {
	api
	cmd   *exec.Cmd
	ended chan struct{}
}

// start runs authflow on a free port, and waits until it listens. An argument NAME=VALUE is for the
// environment, and UMASK=000 sets the umask.
func start(t testing.TB, args ...string) *program {
	t.Helper()
	p := launch(t, args...)
	listening := regexp.MustCompile(`msg=listening url=(\S+)`)
	await(t, "the start of authflow "+strings.Join(args, " "), func() bool {
		select {
		case <-p.ended:
			t.Fatalf("authflow %s must serve, and ended at once:\n%s",
				strings.Join(args, " "), p.log.end())
		default:
		}
		return listening.MatchString(p.log.String())
	})
	p.url = listening.FindStringSubmatch(p.log.String())[1]
	return p
}

// launch runs authflow, and doesn't wait.
func launch(t testing.TB, args ...string) *program {
	t.Helper()
	log := &output{}
	p := launchInto(t, log, args...)
	p.log = log
	return p
}

// launchInto runs authflow with its log going to stderr.
func launchInto(t testing.TB, stderr io.Writer, args ...string) *program {
	t.Helper()
	p := &program{
		api:   api{path: filepath.Join(t.TempDir(), "users.json"), log: &output{}},
		ended: make(chan struct{}),
	}
	command := []string{os.Args[0], "-addr", "127.0.0.1:0", "-users", p.path}
	environment := append(os.Environ(), "AUTHFLOW_RUN=authflow", "AUTH_SECRET=")

	// Of two variables with one name, the last one counts.
	variable := regexp.MustCompile(`^[A-Z_]+=`)
	for i, arg := range args {
		umask, isUmask := strings.CutPrefix(arg, "UMASK=")

		// sh sets the umask and then becomes authflow.
		switch {
		case isUmask:
			setUmask := []string{"sh", "-c", "umask " + umask + `; exec "$0" "$@"`}
			command = append(setUmask, command...)
		case variable.MatchString(arg):
			environment = append(environment, arg)
		default:
			command = append(command, arg)
		}
		if arg == "-users" {
			p.path = args[i+1]
		}
	}

	// So that a test can wait for its end, ended is closed then.
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Env, p.cmd.Stderr = environment, stderr
	_, err := p.cmd.StdinPipe()
	must(t, err)
	must(t, p.cmd.Start())
	go func() {
		p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

// exit waits for the end of the program, and returns its exit status.
func (p *program) exit(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("authflow must end, and still runs after 30 s. Its log ends with\n%s", p.log.end())
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the program as a power cut would.
func (p *program) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// An output is a log that one can read while a program writes it.
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

// Len returns where the log ends now, and from what came after that.
func (o *output) Len() int               { return len(o.String()) }
func (o *output) from(before int) string { return o.String()[before:] }

// forget empties the log: what is expected next must come from now on.
func (o *output) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Reset()
}

// end returns the last lines.
func (o *output) end() string { return lastLines(o.String()) }

// lastLines returns the last 20 lines of a text, for a message.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	lines = lines[max(0, len(lines)-20):]
	for i, line := range lines {
		lines[i] = shorten(line)
	}
	return strings.Join(lines, "\n")
}

// linesWith returns the last lines that have a part.
func linesWith(text, part string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lastLines(strings.Join(lines, "\n"))
}

// logged waits for a text in the log. If the test has failed already, that is why it doesn't come.
func (s api) logged(t testing.TB, text, promise string) {
	t.Helper()
	if t.Failed() {
		return
	}
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(s.log.String(), text); {
		if time.Now().After(deadline) {
			t.Fatalf("%s\nwant in the log: %s\nThe log ends with\n%s", promise, text, s.log.end())
		}
		time.Sleep(time.Millisecond)
	}
}

// An answer remembers its request, for the message of a failure.
type answer struct {
	status  int // 0 if there is no answer; then the body says why
	headers http.Header
	body    string
	sent    string // GET /auth/me, Authorization: Bearer eyJhbGci…
	failed  bool   // a check has failed, and the next ones would only say it again
}

// Clients keep their connections. Who hangs up needs connections of its own.
var client, hangingUp = newClient(), newClient()

func newClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 100,
			TLSClientConfig:     &tls.Config{InsecureSkipVerify: true},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // don't follow it
		},
		Timeout: time.Minute,
	}
}

// try sends a request with these headers, pairs of name and value.
func (s api) try(method, path, body string, headers ...string) (answer, error) {
	sent := method + " " + path
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		sent += ", " + headers[i] + ": " + headers[i+1]
	}
	sent += " " + body

	resp, err := client.Do(r)
	if err != nil {
		return answer{sent: sent}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, headers: resp.Header, body: string(text), sent: sent}, err
}

// send is try. If no answer comes, it says so in the answer, and the next check fails.
func (s api) send(method, path, body string, headers ...string) answer {
	a, err := s.try(method, path, body, headers...)
	if err != nil {
		a.status, a.body = 0, "no answer: "+err.Error()
	}
	return a
}

// signupJSON returns the body of a sign-up.
func signupJSON(username, email, password string) string {
	text, _ := json.Marshal(map[string]string{
		"username": username, "email": email, "password": password,
	})
	return string(text)
}

// signupOf returns the lesson's sign-up with another name.
func signupOf(username string) string {
	return strings.ReplaceAll(lessonSignup, "enrico", username)
}

func (s api) postSignup(body string) answer {
	return s.send("POST", "/auth/signup", body, "Content-Type", asJSON)
}

func (s api) postLogin(form string) answer {
	return s.send("POST", "/auth/login", form, "Content-Type", asForm)
}

// signUpAs signs up a user for a test that needs one.
func (s api) signUpAs(t testing.TB, username string) {
	t.Helper()
	if a := s.postSignup(signupOf(username)); a.status != 201 {
		t.Fatalf("This test needs the user %s, who must be able to sign up.%s\nwant: 201",
			username, a.came())
	}
}

func (s api) logInAs(username, password string) answer {
	return s.postLogin(url.Values{"username": {username}, "password": {password}}.Encode())
}

// tokenFor logs in for a test that needs a token.
func (s api) tokenFor(t testing.TB, username string) string {
	t.Helper()
	a := s.logInAs(username, password)
	_, token, _ := strings.Cut(a.body, `"access_token":"`)
	token, _, _ = strings.Cut(token, `"`)
	if a.status != 200 || token == "" {
		t.Fatalf("This test needs a token for %s, who must be able to log in.%s\n"+
			"want: 200 and an access_token", username, a.came())
	}
	return token
}

func (s api) whoAmI(token string) answer {
	return s.send("GET", "/auth/me", "", "Authorization", "Bearer "+token)
}

// dial opens a connection and sends a text as it is.
func dial(t testing.TB, url, text string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(conn, text) // the service may answer and close before it has read everything
	return conn
}

// raw sends "METHOD path", more header lines and a body as they are. It adds the length of the body
// unless there is one.
func (s api) raw(t testing.TB, request, body string) answer {
	t.Helper()
	first, headers, _ := strings.Cut(request, "\r\n")
	hasLength := regexp.MustCompile("Content-Length|Transfer-Encoding").MatchString(headers)
	if !hasLength {
		headers += "\r\nContent-Length: " + strconv.Itoa(len(body))
	}
	headers = "Host: x\r\nConnection: close\r\n" + strings.TrimPrefix(headers, "\r\n")
	conn := dial(t, s.url, first+" HTTP/1.1\r\n"+headers+"\r\n\r\n"+body)

	sent := strings.ReplaceAll(request, "\r\n", ", ") + " " + body
	method, _, _ := strings.Cut(first, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("Each request must get an answer.\nsent: %s\ncame: no answer: %v", shorten(sent),
			err)
	}
	text, _ := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, headers: resp.Header, body: string(text), sent: sent}
}

// shorten cuts a text that would fill the screen.
func shorten(text string) string {
	text = strings.TrimSpace(text)
	if len(text) > 400 {
		return fmt.Sprintf("%.400s… (%d bytes)", text, len(text))
	}
	return text
}

// came says what was sent and what came.
func (a answer) came() string {
	return fmt.Sprintf("\nsent: %s\ncame: %d %s", shorten(a.sent), a.status, shorten(a.body))
}

// is expects an answer. If another came, the message begins with the promise that broke.
func (a answer) is(t testing.TB, status int, body, promise string) answer {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("%s%s\nwant: %d %s", promise, a.came(), status, shorten(body))
		a.failed = true
	}
	return a
}

// contains expects an answer with a part.
func (a answer) contains(t testing.TB, status int, part, promise string) answer {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, part) {
		t.Errorf("%s%s\nwant: %d and a body with %s", promise, a.came(), status, part)
		a.failed = true
	}
	return a
}

// containsNot expects an answer without a part.
func (a answer) containsNot(t testing.TB, part, promise string) {
	t.Helper()
	if strings.Contains(a.body, part) {
		t.Errorf("%s%s\nwant: a body without %s", promise, a.came(), part)
	}
}

// header expects a header of the answer. "" means that it must not be there.
func (a answer) header(t testing.TB, name, value, promise string) answer {
	t.Helper()
	if got := a.headers.Get(name); got != value && !a.failed {
		t.Errorf("%s%s\nwith the header %s: %s\nwant the header %s: %s",
			promise, a.came(), name, cmp.Or(got, "(none)"), name, cmp.Or(value, "(none)"))
	}
	return a
}

// protects expects the headers that each answer of the API has.
func (a answer) protects(t testing.TB) {
	t.Helper()
	const promise = "Each answer of the API must be JSON, and must protect who opens it in a " +
		"browser: see setHeaders in main.go."
	a.header(t, "Content-Type", asJSON, promise)
	a.header(t, "X-Content-Type-Options", "nosniff", promise)
	a.header(t, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'", promise)

	const noOrigin = "Without -allow-origin, no page of another origin may read an answer: " +
		"see allowOrigins in main.go."
	a.header(t, "Access-Control-Allow-Origin", "", noOrigin)
	a.header(t, "Vary", "", noOrigin)
	a.header(t, "Cache-Control", "no-store",
		"Nobody may keep tokens and users: see setHeaders in main.go.")
}

// withoutToken replaces the token by …, so that the answer can be compared.
func (a answer) withoutToken() answer {
	a.body = anyToken.ReplaceAllString(a.body, `"access_token":"…"`)
	return a
}

// faults expects a 422 with these faults, each written as "type place".
func (a answer) faults(t testing.TB, want []string, promise string) answer {
	t.Helper()
	var body struct {
		Detail []struct {
			Type string
			Loc  []any
			Msg  string
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != 422 {
		t.Errorf("%s%s\nwant: 422 with a list of faults: %s", promise, a.came(), strings.Join(want,
			", "))
		return a
	}

	var faults []string
	for _, fault := range body.Detail {
		place := strings.Trim(fmt.Sprint(fault.Loc), "[]") // body username
		faults = append(faults, fault.Type+" "+strings.ReplaceAll(place, " ", "."))
		check(t, len(fault.Msg) >= 10, "Each fault must say in msg what is wrong.",
			"came the msg %q, want a sentence", fault.Msg)
	}
	if !slices.Equal(faults, want) {
		t.Errorf("%s%s\nwant: 422 with the faults %s", promise, a.came(), strings.Join(want, ", "))
	}
	return a
}

// same expects a value. What says what it is the value of.
func same[T comparable](t testing.TB, what string, came, want T, promise string) {
	t.Helper()
	if came != want {
		t.Errorf("%s\n%s\ncame: %v\nwant: %v", promise, what, came, want)
	}
}

// check expects that ok is true. Otherwise it says what came and what was wanted.
func check(t testing.TB, ok bool, promise, format string, args ...any) {
	t.Helper()
	if !ok {
		t.Errorf(promise+"\n"+format, args...)
	}
}

// errorText returns the text of an error, for a message.
func errorText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
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

// await waits until something is so. If the test has failed meanwhile, it soon gives up.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	began := time.Now()
	for !so() {
		waited := time.Since(began)
		if waited > 30*time.Second || t.Failed() && waited > time.Second {
			t.Fatalf("This test waited for %s. After %v it gave up.", what, waited.Round(time.Second))
		}
		time.Sleep(time.Millisecond)
	}
}

// must ends a test that can't go on after an error.
func must(t testing.TB, err error) {
	t.Helper()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("This test can't go on: %v\n%s", err, exit.Stderr)
	}
	if err != nil {
		t.Fatalf("This test can't go on: %v", err)
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

// replace returns a text in which the first old is new. A text without old would test nothing.
func replace(t testing.TB, text, old, new string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("This row replaces %q, but the text doesn't have it:\n%s", old, shorten(text))
	}
	return strings.Replace(text, old, new, 1)
}

var edits atomic.Int64

// edit writes a users file as a person does, each time a second later than the last time. (Two
// edits within one tick of the file's clock may be seen late, if they have the same length.)
func edit(t testing.TB, path, text string) {
	t.Helper()
	writeFile(t, path, text)
	second := time.Unix(1_700_000_000+edits.Add(1), 0)
	must(t, os.Chtimes(path, second, second))
}

// symlink makes a link, or skips the test where that needs rights.
func symlink(t testing.TB, target, link string) {
	t.Helper()
	if err := os.Symlink(target, link); err != nil {
		t.Skip("needs links: ", err)
	}
}

// need skips a test without a program.
func need(t testing.TB, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skip("needs " + program)
	}
	return path
}

// mount runs mount, and unmounts after the test.
func mount(t *testing.T, args ...string) {
	t.Helper()
	need(t, "mount")
	if os.Getuid() != 0 {
		t.Skip("needs root to mount")
	}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		t.Skipf("root may not mount here (a container?): %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", args[len(args)-1]).Run() })
}

// strace watches the system calls of a program, or lets them fail or wait, until stop is called.
func strace(t *testing.T, p *program, args ...string) (stop func()) {
	t.Helper()
	pid := strconv.Itoa(p.cmd.Process.Pid)
	args = append([]string{"-f", "-e", "signal=none", "-p", pid}, args...)
	tracer := exec.Command(need(t, "strace"), args...)
	said := &output{}
	tracer.Stderr = said
	must(t, tracer.Start())
	await(t, "strace", func() bool {
		if strings.Contains(said.String(), "not permitted") { // Ubuntu, for all but root
			tracer.Wait()
			t.Skip("strace may not attach: try as root, or sysctl kernel.yama.ptrace_scope=0")
		}
		return strings.Contains(said.String(), "attached")
	})
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
