// Authflow is a sign-up and log-in service to learn from: a user model, bcrypt, OAuth 2's password form and a signed
// token, in one small program on the standard library.
//
//	POST /auth/signup    JSON: username, email, password    201, or what is wrong with them
//	POST /auth/login     form: username, password           200 and a token, or 401
//	GET  /auth/me        Authorization: Bearer <token>      200 and who that is, or 401
//	GET  /docs           a page to try it; /openapi.json describes it; /healthz says that it runs
//
// The users lie in one JSON file, readable by its owner alone, where passwords are bcrypt hashes and all else is plain
// text. An edit of it counts from the next request on.
//
//	Usage: authflow [flags]
//
//	  -addr host:port
//	    	listen on this host:port (default "127.0.0.1:8000")
//	  -cost int
//	    	bcrypt's cost for new passwords, 4 to 16: each step doubles the work (default 12)
//	  -tls-cert file
//	    	serve HTTPS with the certificate (chain) in this PEM file
//	  -tls-key file
//	    	and with the private key in this PEM file
//	  -token-ttl duration
//	    	how long a token is good for, such as 15m or 1h (default 1h0m0s)
//	  -users file
//	    	keep the users in this file (default "users.json")
//	  -v	also log each step of a request, for a class to watch
//
//	Environment:
//	  AUTH_SECRET
//	    	signs the tokens: at least 32 bytes, kept secret; without it, tokens end with the process
//
// SIGINT and SIGTERM let what is in flight finish. The exit status is 0 after that, 1 if the service can't run, and 2 if
// the flags are wrong.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"mime"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxBody   = 64 << 10 // bytes: no sign-up or log-in comes near it
	maxHeader = 16 << 10 // bytes: a token has about 200
	safeCost  = 10       // below it bcrypt is too fast (OWASP Password Storage Cheat Sheet)
	minSecret = 32       // bytes: as long as the digest it keys (RFC 7518 §3.2)
	maxLogged = 200      // characters of a method or path that go into a log line

	readHeaderTimeout = 5 * time.Second  // for a client that drips its headers
	readTimeout       = 10 * time.Second // and its body: 64 KiB at the speed of a modem
	writeTimeout      = 60 * time.Second // waiting in line, a hash on a small machine, and the answer
	idleTimeout       = 60 * time.Second // between two requests of a connection
	grace             = 10 * time.Second // for what is in flight when told to stop
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

// run is the whole program, from its arguments to its exit status: 0 stopped as told, 1 couldn't serve, 2 wrong usage.
// It serves until ctx is done. All that it has of the world is passed in, so that a test can run it whole.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	c, err := configure(args, getenv, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "authflow: %v (authflow -h explains)\n", err)
		return 2
	}
	if err := serve(ctx, c, stderr); err != nil {
		fmt.Fprintf(stderr, "authflow: %v\n", err)
		return 1
	}
	return 0
}

// config is what flags and environment say.
type config struct {
	addr, users     string
	cost            int
	tokenTTL        time.Duration
	tlsCert, tlsKey string
	verbose         bool
	secret          []byte // signs the tokens; empty: not set
}

// configure reads flags and environment. An error says what is wrong with them; flag.ErrHelp that -h has been answered.
func configure(args []string, getenv func(string) string, stderr io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("authflow", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // its errors are returned
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8000", "listen on this `host:port`")
	flags.StringVar(&c.users, "users", "users.json", "keep the users in this `file`")
	flags.IntVar(&c.cost, "cost", 12, "bcrypt's cost for new passwords, 4 to 16: each step doubles the work")
	flags.DurationVar(&c.tokenTTL, "token-ttl", time.Hour, "how long a token is good for, such as 15m or 1h")
	flags.StringVar(&c.tlsCert, "tls-cert", "", "serve HTTPS with the certificate (chain) in this PEM `file`")
	flags.StringVar(&c.tlsKey, "tls-key", "", "and with the private key in this PEM `file`")
	flags.BoolVar(&c.verbose, "v", false, "also log each step of a request, for a class to watch")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(stderr)
			fmt.Fprint(stderr, "Usage: authflow [flags]\n\n")
			flags.PrintDefaults()
			fmt.Fprint(stderr, "\n"+environment)
		}
		return c, err
	}
	_, _, addrErr := net.SplitHostPort(c.addr)
	c.secret = []byte(getenv("AUTH_SECRET"))
	switch {
	case flags.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q: there are flags only", flags.Arg(0))
	case addrErr != nil:
		return c, fmt.Errorf("-addr must be host:port, such as 127.0.0.1:8000: %v", addrErr)
	case c.users == "":
		return c, errors.New("-users must name a file")
	case c.cost < minCost || c.cost > maxCost:
		return c, fmt.Errorf("-cost must be %d to %d", minCost, maxCost)
	case c.tokenTTL < time.Second:
		return c, errors.New("-token-ttl must be 1s or more")
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return c, errors.New("-tls-cert and -tls-key go together")
	case len(c.secret) > 0 && len(c.secret) < minSecret:
		return c, fmt.Errorf("AUTH_SECRET must have at least %d bytes; openssl rand -base64 32 makes a good one", minSecret)
	}
	return c, nil
}

const environment = `Environment:
  AUTH_SECRET
    	signs the tokens: at least 32 bytes, kept secret; without it, tokens end with the process
`

// serve runs the service until ctx is done, then lets what is in flight finish.
func serve(ctx context.Context, c config, stderr io.Writer) error {
	level := slog.LevelInfo
	if c.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	runtime.GOMAXPROCS(processors + 1) // one more than hash at a time: inSlot in auth.go says why

	// Listening comes first: if another authflow serves this address, this one ends before it touches the users file.
	ln, err := net.Listen("tcp", c.addr)
	if err != nil {
		return fmt.Errorf("%w: choose another address with -addr", err)
	}
	defer ln.Close()
	store, err := OpenStore(c.users, log)
	if err != nil {
		return err
	}
	scheme, tlsConfig := "http", (*tls.Config)(nil)
	if c.tlsCert != "" {
		cert, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
		if err != nil {
			return fmt.Errorf("-tls-cert or -tls-key: %w", err)
		}
		scheme, tlsConfig = "https", &tls.Config{Certificates: []tls.Certificate{cert}}
	}

	if len(c.secret) == 0 {
		c.secret = []byte(rand.Text() + rand.Text()) // 256 bits
		log.Warn("AUTH_SECRET is not set: tokens are signed with a random key and end with this process")
	}
	if c.cost < safeCost {
		log.Warn("passwords are hashed too fast to be safe: -cost 12 is for real ones", "cost", c.cost)
	}
	if tlsConfig == nil && !ln.Addr().(*net.TCPAddr).IP.IsLoopback() {
		log.Warn("passwords and tokens cross the network in the clear: use -tls-cert and -tls-key, or a TLS proxy and a loopback -addr")
	}
	srv := &http.Server{
		Handler:           newServer(store, log, c.cost, c.tokenTTL, c.secret),
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn), // failed handshakes, and panics if there are any
	}
	log.Info("listening", "url", scheme+"://"+ln.Addr().String(), "users", c.users)

	done := make(chan error, 1)
	go func() {
		if tlsConfig != nil {
			done <- srv.ServeTLS(ln, "", "") // the certificate is in TLSConfig
		} else {
			done <- srv.Serve(ln)
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Warn("stopped before all requests were answered", "err", err)
	}
	return nil
}

// routes says which request is answered by what.
func (s *server) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /auth/signup", s.signup)
	mux.HandleFunc("POST "+loginPath, s.login)
	mux.HandleFunc("GET /auth/me", s.requireUser(s.me))
	mux.HandleFunc("GET /healthz", healthz)
	mux.HandleFunc("GET /openapi.json", openapi)
	mux.HandleFunc("GET /docs", docs)
	mux.Handle("GET /{$}", http.RedirectHandler("/docs", http.StatusTemporaryRedirect))
	return mux
}

// loginPath is OAuth 2's token endpoint, whose errors have a member more.
const loginPath = "/auth/login"

// ServeHTTP is the door: what holds for every request, whatever its path.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	answer := &recorder{ResponseWriter: w}
	defer func() {
		s.log.Info("request", "method", clip(r.Method), "path", clip(r.URL.EscapedPath()), "status", answer.status,
			"took", time.Since(start), "addr", r.RemoteAddr) // no query and no body: there may be passwords in them
	}()
	answer.Header().Set("X-Content-Type-Options", "nosniff")
	answer.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if strings.HasPrefix(r.URL.Path, "/auth/") {
		answer.Header().Set("Cache-Control", "no-store") // neither tokens nor users (RFC 6749 §5.1)
	}
	if s.crossOrigin.Check(r) != nil { // a page on another site must not log a visitor in or sign them up
		writeError(answer, r, http.StatusForbidden, "Cross-origin request refused")
		return
	}
	if r.ContentLength > maxBody {
		answer.Header().Set("Connection", "close") // rather than read it to the end
		writeError(answer, r, http.StatusRequestEntityTooLarge, tooLarge)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody) // w itself, which it tells to close the connection
	handler, pattern := s.mux.Handler(r)
	if pattern == "" { // the mux has no route, and would say so in plain text
		refusal := &headerOnly{ResponseWriter: answer}
		handler.ServeHTTP(refusal, r)
		writeError(answer, r, refusal.status, http.StatusText(refusal.status))
		return
	}
	handler.ServeHTTP(answer, r)
}

// clip shortens what a client sent, for a log line. slog quotes what isn't printable.
func clip(s string) string { return s[:min(len(s), maxLogged)] }

// A recorder remembers the status of an answer for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// A headerOnly lets the headers of an answer through, such as Allow, and keeps back its status and body.
type headerOnly struct {
	http.ResponseWriter
	status int
}

func (w *headerOnly) WriteHeader(status int)      { w.status = status }
func (w *headerOnly) Write(p []byte) (int, error) { return len(p), nil }

// readBody returns the body of a request that has that media type, or answers 415, 413 or 422 itself and returns false.
func readBody(w http.ResponseWriter, r *http.Request, mediaType string) ([]byte, bool) {
	if sent, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || sent != mediaType {
		writeError(w, r, http.StatusUnsupportedMediaType, "Content-Type must be "+mediaType)
		return nil, false
	}
	body, err := io.ReadAll(r.Body)
	if errors.As(err, new(*http.MaxBytesError)) {
		writeError(w, r, http.StatusRequestEntityTooLarge, tooLarge)
		return nil, false
	}
	if err != nil { // it broke off, or took too long
		writeError(w, r, http.StatusUnprocessableEntity, []fault{{"value_error", []any{"body"}, "Body could not be read to its end"}})
		return nil, false
	}
	return body, true
}

var tooLarge = fmt.Sprintf("Body must be at most %d bytes", maxBody)

// writeJSON answers with v as JSON.
func writeJSON(w http.ResponseWriter, status int, v any) {
	text, _ := json.Marshal(v) // strings, numbers and booleans: can't fail
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(text)
}

// An errorBody is the body of every error: detail is a sentence, or the faults of the input.
type errorBody struct {
	Detail any    `json:"detail"`
	Error  string `json:"error,omitempty"` // at the token endpoint: OAuth 2's name for it (RFC 6749 §5.2)
}

// writeError answers with an error. At the token endpoint it adds OAuth's name for it.
func writeError(w http.ResponseWriter, r *http.Request, status int, detail any) {
	body := errorBody{Detail: detail}
	if r.Method == http.MethodPost && r.URL.Path == loginPath {
		switch status {
		case http.StatusUnauthorized:
			body.Error = "invalid_grant"
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			body.Error = "temporarily_unavailable" // borrowed from §4.1.2.1: §5.2 has no word for it
		default:
			body.Error = "invalid_request"
		}
	}
	writeJSON(w, status, body)
}

// writeRetry answers with an error that passes by itself, and with when to come back.
func writeRetry(w http.ResponseWriter, r *http.Request, status int, detail string, after time.Duration) {
	seconds := int(math.Ceil(after.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	writeError(w, r, status, detail)
}

func healthz(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

func openapi(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	io.WriteString(w, openapiDocument)
}

// docs answers with the try-it page. Its policy lets the browser run this one script and style, known by their digests,
// and talk to this server; whatever else might get into the page stays dead.
func docs(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", docsPolicy)
	w.WriteHeader(http.StatusOK)
	io.WriteString(w, docsPage)
}

var docsPolicy = "default-src 'none'; script-src " + digestOf("script") + "; style-src " + digestOf("style") +
	"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// digestOf returns the digest of an element of the page, as a content security policy names it.
func digestOf(element string) string {
	_, text, _ := strings.Cut(docsPage, "<"+element+">")
	text, _, _ = strings.Cut(text, "</"+element+">")
	digest := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
}

// docsPage is the try-it page: the flow in three steps, each with what goes over the wire.
const docsPage = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>authflow: sign up, log in, who am I?</title><link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --page: light-dark(#f9f8f5, #15171a); --card: light-dark(#fff, #1c1f23);
  --well: light-dark(#f5f4f0, #131518); --ink: light-dark(#23272c, #e3e1dc); --quiet: light-dark(#5b626b, #a5abb3);
  --line: light-dark(#e4e1da, #33383f); --edge: light-dark(#858a91, #7a828c); --accent: light-dark(#2b5f8f, #93c0ea);
  --good: light-dark(#2a6945, #8fd0aa); --bad: light-dark(#a5332b, #f3a59c); --header: light-dark(#0a6868, #71d0cb);
  --payload: light-dark(#7a3b90, #d6a8e8); --signature: light-dark(#855700, #e4bc6c); }
* { box-sizing: border-box; } :focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: clamp(1.5rem, 6vw, 4rem) clamp(1rem, 4vw, 2rem); }
section { margin-top: 1.5rem; padding: clamp(1rem, 4vw, 2rem); background: var(--card); border: 1px solid var(--line); }
section, pre, input, button { border-radius: 0.5rem; } form, .more > * { margin-top: 1.5rem; }
h1, h2, h3, h4, dl, dd { margin: 0; line-height: 1.4; } p { margin: 0.5rem 0 0; max-width: 48rem; text-wrap: pretty; }
h3, h4, label, dl, .note, form p { font-size: 0.875rem; }
dt, pre { font: 0.8125rem/1.6 ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { margin: 0.375rem 0 0; padding: 0.75rem 1rem; background: var(--well); white-space: pre-wrap; }
form, .pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 16rem), 1fr)); gap: 1rem 1.5rem; }
dl { display: grid; grid-template-columns: auto 1fr; gap: 0.25rem 1rem; align-items: baseline; }
.row { display: flex; flex-wrap: wrap; align-items: center; gap: 0.25rem 1rem; grid-column: 1 / -1; }
input, button { margin: 0; font: inherit; border: 1px solid var(--edge); background: var(--card); color: inherit; }
form input { display: block; width: 100%; margin-top: 0.25rem; padding: 0.5rem 0.75rem; }
button { padding: 0.125rem 0.75rem; font-size: 0.875rem; } button:disabled { opacity: 0.6; }
form button { padding: 0.5rem 1.25rem; font-size: 1rem; background: var(--accent); color: var(--card); border: 0; }
a { color: var(--accent); } [aria-invalid] { border-color: var(--bad); box-shadow: inset 0 0 0 1px var(--bad); }
h3, dd, .note { color: var(--quiet); } .good { color: var(--good); } .bad, form p { color: var(--bad); }
.header { color: var(--header); } .payload { color: var(--payload); } .signature { color: var(--signature); }
</style>
<main><h1>authflow</h1>
<p>How a password becomes a token, in three steps: sign up, log in, who am I? Each shows what goes over the wire. The page
  loads nothing from elsewhere and works offline. All of the API: <a href="/openapi.json">openapi.json</a>.</p>
<noscript><p class="bad">This page needs JavaScript; without it, send the same requests with curl.</p></noscript>
<p><input type="checkbox" id="show-password"> <label for="show-password">Show the password as typed</label></p>
<section><h2>1. Sign up</h2><p>Sends JSON. The server keeps a bcrypt hash of the password, never the password.</p>
<form id="signup" method="post" novalidate spellcheck="false" autocapitalize="none" aria-label="Sign up">
  <div><label for="signup-username">Username</label>
    <input id="signup-username" name="username" type="text" autocomplete="username"><p id="signup-username-fault"></p></div>
  <div><label for="signup-email">Email</label>
    <input id="signup-email" name="email" type="email" autocomplete="email"><p id="signup-email-fault"></p></div>
  <div><label for="signup-password">Password</label><input id="signup-password" name="password" type="password"
    autocomplete="new-password"><p id="signup-password-fault"></p></div>
  <div class="row"><button>Sign up</button><span role="status" aria-live="polite"></span></div></form></section>
<section><h2>2. Log in</h2><p>Sends a form, as OAuth 2 asks, not JSON. The answer brings a token to use from then on.</p>
<form id="login" method="post" novalidate spellcheck="false" autocapitalize="none" aria-label="Log in">
  <div><label for="login-username">Username</label>
    <input id="login-username" name="username" type="text" autocomplete="username"><p id="login-username-fault"></p></div>
  <div><label for="login-password">Password</label><input id="login-password" name="password" type="password"
    autocomplete="current-password"><p id="login-password-fault"></p></div>
  <div class="row"><button>Log in</button><span role="status" aria-live="polite"></span></div></form>
<div id="token" class="more" hidden>
  <div><div class="row"><h3>The token, taken apart</h3><span id="expiry" class="note" role="timer"></span></div><pre><b
    id="header" class="header"></b>.<b id="payload" class="payload"></b>.<b id="signature" class="signature"></b></pre></div>
  <div class="pair"><div><h4 class="header">Header: up to the first dot</h4><pre id="header-json"></pre></div>
    <div><h4 class="payload">Payload: between the dots</h4><pre id="payload-json"></pre></div>
    <div><h4 class="signature">Signature: after the last dot</h4><p class="note">HMAC-SHA256 of header and payload. Anybody
      can read those two; nobody without the server's key can change them and make a signature that fits.</p></div></div>
  <dl><dt>sub</dt><dd>the subject: the id of the user it speaks for</dd>
    <dt>iat</dt><dd>issued at, in seconds since 1970</dd> <dt>exp</dt><dd>expires at, and is refused from then on</dd>
    <dt>pwd</dt><dd>a fingerprint of name and password hash: if either changes, the token is void</dd></dl></div></section>
<section><h2>3. Who am I?</h2><p>Sends the token in a header, and no password. Without a token (before step 2) it is refused.</p>
<form id="me" method="post" aria-label="Who am I?">
  <div class="row"><button>Who am I?</button><span role="status" aria-live="polite"></span></div></form></section></main>
<template><div class="exchange more" hidden><div class="pair">
    <div><h3>Request</h3><pre class="request"></pre></div><div><h3>Answer</h3><pre class="answer"></pre></div></div>
  <div><div class="row"><h3>The same with curl</h3><button class="copy" aria-label="Copy the curl command">Copy</button>
    <span class="copied note" role="status"></span></div><pre class="curl"></pre></div></div></template>
<script>
"use strict";
const byId = (id) => document.getElementById(id);
const mask = "********"; // stands for the password until the checkbox reveals it
const last = {}; // by step: the values it sent last, and the answer
let token = "", expiresAt = 0; // in this page's memory only: a reload forgets them
// put fills the element a selector finds. As textContent, whatever was typed or answered stays mere text.
const put = (root, selector, text) => { root.querySelector(selector).textContent = text; };
// quote makes any text one word of a shell: within single quotes only the single quote itself is special.
const quote = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
// decode reads a part of the token. No key is needed: base64url is a spelling, not a cipher.
const decode = (part) => JSON.stringify(JSON.parse(new TextDecoder().decode(Uint8Array.from(
  atob(part.replaceAll("-", "+").replaceAll("_", "/")), (byte) => byte.charCodeAt(0)))), null, 2);
// compose says what a step sends; data are the options with which curl sends the same body.
function compose(step, values) {
  if (step === "me") return { method: "GET", headers: values.token ? { Authorization: "Bearer " + values.token } : {}, data: [] };
  const json = JSON.stringify(values), form = new URLSearchParams(values).toString();
  const fields = Object.entries(values).map(([name, value]) => "--data-urlencode " + quote(name + "=" + value));
  return step === "signup"
    ? { method: "POST", headers: { "Content-Type": "application/json" }, body: json, data: ["--data " + quote(json)] }
    : { method: "POST", headers: { "Content-Type": "application/x-www-form-urlencoded" }, body: form, data: fields };
}
function show(step) { // writes out the last exchange, once more whenever the checkbox changes
  const { values, answer } = last[step], section = byId(step).parentNode, path = "/auth/" + step;
  const masked = values.password && !byId("show-password").checked;
  const { method, headers, body, data } = compose(step, masked ? { ...values, password: mask } : values);
  const lines = Object.entries(headers).map(([name, value]) => name + ": " + value);
  const curl = ["curl -i " + quote(location.origin + path), ...lines.map((line) => "-H " + quote(line)), ...data];
  put(section, ".request", [method + " " + path, ...lines, "", body].join("\n").trim());
  put(section, ".answer", answer);
  put(section, ".curl", curl.join(" \\\n  "));
  put(section, ".copied", "");
  section.querySelector(".exchange").hidden = false;
}
// showFault puts a fault of a 422 at its field; it returns the message of a fault that has none.
function showFault(form, { loc, msg }) {
  const input = byId(form.id + "-" + String(loc.at(-1)).replace("hashed_", "")); // the lesson's name for the password
  if (!input) return msg;
  byId(input.id + "-fault").append(input.ariaInvalid ? "; " : "", msg);
  input.setAttribute("aria-describedby", input.id + "-fault");
  input.ariaInvalid = "true";
}
// proceed does what follows from a good answer, and says so.
function proceed(step, values, answer) {
  const username = byId("login-username"), password = byId("login-password");
  if (step === "me") return "You are " + answer.username;
  if (step === "signup" && (username.value || password.value)) return "Now log in";
  if (step === "signup") {
    [username.value, password.value] = [values.username, values.password];
    return "Username and password are copied to step 2";
  }
  token = answer.access_token;
  expiresAt = Date.now() + answer.expires_in * 1000; // and not exp: the server's clock may differ from ours
  const parts = token.split(".");
  ["#header", "#payload", "#signature"].forEach((id, i) => put(document, id, parts[i]));
  ["#header-json", "#payload-json"].forEach((id, i) => put(document, id, decode(parts[i])));
  byId("token").hidden = false;
  return "The token is taken apart below";
}
async function send(event) {
  event.preventDefault();
  const form = event.target, step = form.id, button = form.querySelector("button"), status = form.querySelector("[role=status]");
  const hadFocus = button === document.activeElement, started = performance.now();
  for (const input of form.querySelectorAll("input")) [input.ariaInvalid, byId(input.id + "-fault").textContent] = [null, ""];
  const values = step === "me" ? { token } : Object.fromEntries(new FormData(form));
  last[step] = { values, answer: "none yet" };
  show(step);
  [button.disabled, status.className, status.textContent] = [true, "", "Sending…"];
  const response = await fetch("/auth/" + step, compose(step, values)).catch(() => null); // 4xx and 5xx do not end here
  const text = await response?.text().catch(() => null);
  [button.disabled, status.className] = [false, response?.ok ? "good" : "bad"];
  if (hadFocus) button.focus(); // disabling took the focus away
  if (text == null) return put(form, "[role=status]", "No answer. Is the server running?");
  const line = (response.status + " " + response.statusText).trim(), took = Math.round(performance.now() - started);
  const names = ["Content-Type", "Cache-Control", "WWW-Authenticate", "Retry-After"].filter((name) => response.headers.has(name));
  last[step].answer = [line, ...names.map((name) => name + ": " + response.headers.get(name)), "", text].join("\n");
  show(step);
  const answer = /^application\/json/.test(response.headers.get("Content-Type")) ? JSON.parse(text) : {};
  const notes = [answer.detail || answer.message].flat().map((note) => note?.loc ? showFault(form, note) : note);
  form.querySelector("[aria-invalid]")?.focus();
  if (response.headers.has("Retry-After")) notes.push("Try again in " + response.headers.get("Retry-After") + " s");
  if (response.ok) notes.push(proceed(step, values, answer));
  status.textContent = [line + " in " + took + " ms", ...notes.filter(Boolean)].join(". ");
}
async function copy(section) {
  const curl = section.querySelector(".curl");
  const copied = await navigator.clipboard?.writeText(curl.textContent).then(() => "Copied", () => "");
  if (!copied) getSelection().selectAllChildren(curl); // over plain HTTP, only localhost may use the clipboard
  put(section, ".copied", (copied || "Selected for copying") + (curl.textContent.includes(mask) ? ", password masked" : ""));
}
for (const form of document.forms) {
  form.after(document.querySelector("template").content.cloneNode(true));
  form.addEventListener("submit", send);
  form.parentNode.querySelector(".copy").addEventListener("click", () => copy(form.parentNode));
}
byId("show-password").addEventListener("change", () => Object.keys(last).forEach(show));
setInterval(() => {
  const left = Math.max(0, Math.ceil((expiresAt - Date.now()) / 1000)), seconds = String(left % 60).padStart(2, "0");
  if (token) put(document, "#expiry", left ? "expires in " + Math.floor(left / 60) + ":" + seconds : "expired");
}, 200);
</script>
`

// openapiDocument describes the service to programs: Swagger UI, Postman, code generators.
const openapiDocument = `{
  "openapi": "3.1.0",
  "info": {
    "title": "authflow", "version": "1.0.0",
    "summary": "Sign up, log in, ask who you are: for teaching the flow, first-party demos, loopback.",
    "description": "Answers are JSON, with X-Content-Type-Options: nosniff. Another method: 405 and Allow; another path: 404."
  },
  "servers": [{"url": "/"}],
  "security": [],
  "tags": [
    {"name": "auth", "description": "No answer may be cached (Cache-Control: no-store). A body is 64 KiB at most."},
    {"name": "service", "description": "The documents and the health check."}
  ],
  "paths": {
    "/auth/signup": {"post": {
      "operationId": "signup", "tags": ["auth"], "summary": "Create a user",
      "description": "At 201 the user is on disk; at any other answer nothing has changed.",
      "requestBody": {"required": true, "content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/Signup"},
        "examples": {
          "ours": {"value": {"username": "enrico", "email": "enrico@example.com", "password": "plaintextpassword"}},
          "lesson": {"value": {"username": "enrico", "email": "enrico@example.com", "hashed_password": "plaintextpassword"}}
        }
      }}},
      "responses": {
        "201": {
          "description": "Created", "headers": {"Cache-Control": {"$ref": "#/components/headers/NoStore"}},
          "content": {"application/json": {"schema": {"$ref": "#/components/schemas/SignedUp"}}}
        },
        "400": {"description": "The username is taken, in whatever letter case", "content": {"application/json": {
          "schema": {"$ref": "#/components/schemas/Error"}, "example": {"detail": "Username already exists"}
        }}},
        "403": {"$ref": "#/components/responses/Error", "description": "Cross-origin request refused (browsers only)"},
        "413": {"$ref": "#/components/responses/Error", "description": "The body is over 64 KiB"},
        "415": {"$ref": "#/components/responses/Error", "description": "Not application/json"},
        "422": {"description": "Invalid input: all faults at once, no echo of what was sent", "content": {"application/json": {
          "schema": {"$ref": "#/components/schemas/Faults"},
          "examples": {
            "fields": {"value": {"detail": [
              {"type": "missing", "loc": ["body", "email"], "msg": "Field required"},
              {"type": "string_too_short", "loc": ["body", "password"], "msg": "String should have at least 8 characters"}
            ]}},
            "syntax": {"value": {"detail": [{"type": "json_invalid", "loc": ["body", 1], "msg": "JSON decode error"}]}}
          }
        }}},
        "503": {
          "description": "Too busy to hash, or the users file can't be read or written just now",
          "headers": {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
          "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        }
      }
    }},
    "/auth/login": {"post": {
      "operationId": "login", "tags": ["auth"], "summary": "Get a token for a name and password",
      "description": "OAuth 2's password grant, which RFC 9700, 2.4 forbids to new systems. Errors have OAuth's error member.",
      "requestBody": {"required": true, "content": {
        "application/x-www-form-urlencoded": {"schema": {"$ref": "#/components/schemas/Login"}}
      }},
      "responses": {
        "200": {
          "description": "Logged in", "headers": {"Cache-Control": {"$ref": "#/components/headers/NoStore"}},
          "content": {"application/json": {"schema": {"$ref": "#/components/schemas/LoggedIn"}}}
        },
        "401": {
          "description": "Wrong password, unknown user or disabled user: one answer, in the same time",
          "headers": {"WWW-Authenticate": {"$ref": "#/components/headers/Challenge"}},
          "content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/OAuthError"},
            "example": {"detail": "Invalid credentials", "error": "invalid_grant"}
          }}
        },
        "403": {"$ref": "#/components/responses/OAuthError", "description": "Cross-origin request refused (browsers only)"},
        "413": {"$ref": "#/components/responses/OAuthError", "description": "The body is over 64 KiB"},
        "415": {"$ref": "#/components/responses/OAuthError", "description": "Not application/x-www-form-urlencoded"},
        "422": {"description": "A parameter is missing, empty or repeated; another grant_type", "content": {"application/json": {
          "schema": {"$ref": "#/components/schemas/OAuthFaults"},
          "example": {
            "detail": [{"type": "missing", "loc": ["body", "password"], "msg": "Field required"}], "error": "invalid_request"
          }
        }}},
        "429": {"$ref": "#/components/responses/OAuthLater", "description": "After 10 failures in a row: one try a minute"},
        "503": {"$ref": "#/components/responses/OAuthLater", "description": "Too busy to hash"}
      }
    }},
    "/auth/me": {"get": {
      "operationId": "me", "tags": ["auth"], "summary": "Show whose token this is",
      "description": "A token is void once its user is disabled, removed, renamed or given another password.",
      "security": [{"OAuth2Password": []}],
      "responses": {
        "200": {
          "description": "The token's user", "headers": {"Cache-Control": {"$ref": "#/components/headers/NoStore"}},
          "content": {"application/json": {"schema": {"$ref": "#/components/schemas/User"}}}
        },
        "401": {
          "description": "No token, or one that is malformed, forged, expired or void",
          "headers": {"WWW-Authenticate": {"$ref": "#/components/headers/Challenge"}},
          "content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/Error"},
            "examples": {
              "none": {"value": {"detail": "Not authenticated"}}, "bad": {"value": {"detail": "Could not validate credentials"}}
            }
          }}
        }
      }
    }},
    "/docs": {"get": {
      "operationId": "docs", "tags": ["service"], "summary": "The page to try all this on",
      "responses": {"200": {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}}}
    }},
    "/openapi.json": {"get": {
      "operationId": "openapi", "tags": ["service"], "summary": "This document",
      "responses": {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {"type": "object"}}}}}
    }},
    "/healthz": {"get": {
      "operationId": "healthz", "tags": ["service"], "summary": "Is it up?",
      "responses": {"200": {"description": "It is", "content": {"application/json": {
        "schema": {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}}
      }}}}
    }},
    "/": {"get": {
      "operationId": "root", "tags": ["service"], "summary": "Go to /docs",
      "responses": {"307": {"description": "To /docs", "headers": {"Location": {"schema": {"type": "string", "const": "/docs"}}}}}
    }}
  },
  "components": {
    "securitySchemes": {
      "OAuth2Password": {
        "type": "oauth2", "flows": {"password": {"tokenUrl": "auth/login", "scopes": {}}},
        "description": "Sent as Authorization: Bearer ...; client_id and client_secret may stay empty"
      }
    },
    "headers": {
      "NoStore": {"schema": {"type": "string", "const": "no-store"}},
      "RetryAfter": {"description": "Whole seconds", "required": true, "schema": {"type": "integer", "minimum": 1}},
      "Challenge": {
        "description": "Bearer realm=\"auth\"; at /auth/me, for a token that was sent, also error=\"invalid_token\"",
        "required": true, "schema": {"type": "string"}
      }
    },
    "responses": {
      "Error": {"description": "Refused", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}},
      "OAuthError": {
        "description": "Refused; error is invalid_request",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/OAuthError"}}}
      },
      "OAuthLater": {
        "description": "Try later; error is temporarily_unavailable",
        "headers": {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}},
        "content": {"application/json": {
          "schema": {"$ref": "#/components/schemas/OAuthError"},
          "example": {"detail": "Too busy just now", "error": "temporarily_unavailable"}
        }}
      }
    },
    "schemas": {
      "Signup": {
        "type": "object", "description": "Other members are ignored, id and is_active too",
        "required": ["username", "email"], "anyOf": [{"required": ["password"]}, {"required": ["hashed_password"]}],
        "properties": {
          "username": {
            "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9._@+-]+$",
            "description": "Kept as typed, unique in any letter case"
          },
          "email": {"type": "string", "format": "email", "maxLength": 254, "description": "One bare address, not unique"},
          "password": {"$ref": "#/components/schemas/Password"},
          "hashed_password": {
            "$ref": "#/components/schemas/Password",
            "description": "The lesson's name for password, plaintext all the same; both, with different values, are a 422"
          }
        }
      },
      "Password": {
        "type": "string", "format": "password", "minLength": 8, "maxLength": 72,
        "description": "At most 72 bytes in UTF-8, no control characters"
      },
      "SignedUp": {
        "type": "object", "required": ["message", "user_id"],
        "properties": {"message": {"const": "User created"}, "user_id": {"$ref": "#/components/schemas/ID"}}
      },
      "Login": {
        "type": "object", "required": ["username", "password"],
        "properties": {
          "username": {"type": "string", "minLength": 1, "description": "In any letter case", "examples": ["enrico"]},
          "password": {"type": "string", "minLength": 1, "format": "password", "examples": ["plaintextpassword"]},
          "grant_type": {"type": "string", "enum": ["password", ""]},
          "scope": {"$ref": "#/components/schemas/Unused"},
          "client_id": {"$ref": "#/components/schemas/Unused"},
          "client_secret": {"$ref": "#/components/schemas/Unused"}
        }
      },
      "Unused": {"type": "string", "description": "Accepted and not used", "examples": [""]},
      "LoggedIn": {
        "type": "object", "required": ["message", "user_id", "access_token", "token_type", "expires_in"],
        "properties": {
          "message": {"const": "Login successful"}, "user_id": {"$ref": "#/components/schemas/ID"},
          "access_token": {
            "type": "string", "description": "A JWT, HS256: sub (the user's id), iat, exp, pwd (fingerprint)"
          },
          "token_type": {"const": "bearer"}, "expires_in": {"type": "integer", "description": "Seconds", "examples": [3600]}
        }
      },
      "User": {
        "type": "object", "required": ["id", "username", "email", "is_active"],
        "properties": {
          "id": {"$ref": "#/components/schemas/ID"}, "is_active": {"const": true},
          "username": {"type": "string", "examples": ["enrico"]}, "email": {"type": "string", "examples": ["enrico@example.com"]}
        }
      },
      "ID": {"type": "integer", "minimum": 1},
      "Error": {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}},
      "Faults": {"type": "object", "required": ["detail"], "properties": {"detail": {
        "type": "array", "minItems": 1, "items": {"type": "object", "required": ["type", "loc", "msg"], "properties": {
          "type": {"type": "string"}, "msg": {"type": "string"},
          "loc": {"type": "array", "items": {"type": ["string", "integer"]}, "examples": [["body", "password"]]}
        }}
      }}},
      "OAuth": {"type": "object", "required": ["error"], "properties": {"error": {
        "enum": ["invalid_request", "invalid_grant", "unsupported_grant_type", "temporarily_unavailable"]
      }}},
      "OAuthError": {"allOf": [{"$ref": "#/components/schemas/Error"}, {"$ref": "#/components/schemas/OAuth"}]},
      "OAuthFaults": {"allOf": [{"$ref": "#/components/schemas/Faults"}, {"$ref": "#/components/schemas/OAuth"}]}
    }
  }
}
`
