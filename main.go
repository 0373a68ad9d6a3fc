// Authflow is a sign-up and log-in service to learn from: a user model, bcrypt, OAuth 2's password form and a signed
// token, in one small program on the standard library.
//
// The users are stored in one JSON file: passwords as bcrypt hashes, all else in plain text. authflow -h explains the
// flags.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	maxHeader = 16 << 10 // bytes: a token has about 200
	maxLogged = 200      // characters of a method or path in a log line
	minSecret = 32       // bytes: as long as the digest (RFC 7518 §3.2)
	safeCost  = 10       // below it bcrypt is too fast (OWASP Password Storage Cheat Sheet)
	minCost   = 4        // bcrypt's lowest
	maxCost   = 16       // a log-in takes seconds

	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second // 64 KiB at the speed of a modem
	writeTimeout      = 60 * time.Second // to wait for bcrypt, to hash on a small machine, to answer
	idleTimeout       = 60 * time.Second // between two requests
	shutdownTimeout   = 10 * time.Second // for requests that have begun
)

// routes says which request is answered by what.
func routes(s *server) *http.ServeMux {
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

// newHandler returns the whole service: the routes, and what holds for every request. Pages of the origins may call it.
func newHandler(s *server, origins []string, log *slog.Logger) http.Handler {
	mux := routes(s)
	var crossOrigin http.CrossOriginProtection
	var requests atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		log := log.With("req", requests.Add(1))
		r = withLogger(r, log)
		answer := &recorder{ResponseWriter: w}
		defer func() { // without query, headers and body: they have secrets
			log.Info("request", "method", truncate(r.Method), "path", truncate(r.URL.EscapedPath()), "status", answer.status,
				"took", time.Since(start), "addr", r.RemoteAddr)
		}()
		header := answer.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if strings.HasPrefix(r.URL.Path, "/auth/") {
			header.Set("Cache-Control", "no-store") // neither tokens nor users (RFC 6749 §5.1)
		}
		if len(origins) > 0 {
			header.Set("Vary", "Origin")
		}
		origin := r.Header.Get("Origin")
		allowed := slices.Contains(origins, origin)
		if allowed { // the page may read the answer, and these headers
			header.Set("Access-Control-Allow-Origin", origin)
			header.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
		} else if crossOrigin.Check(r) != nil { // another site must not log its visitors in
			writeError(answer, r, http.StatusForbidden, "Cross-origin request refused")
			return
		}
		handler, pattern := mux.Handler(r)
		if pattern == "" { // no route: the mux redirects, or says 404 or 405 in plain text
			plain := &headerWriter{header: make(http.Header)}
			handler.ServeHTTP(plain, r)
			if allowed && r.Method == http.MethodOptions && plain.status == http.StatusMethodNotAllowed { // preflight
				header.Set("Access-Control-Allow-Methods", plain.header.Get("Allow"))
				header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
				answer.WriteHeader(http.StatusNoContent)
				return
			}
			if plain.status >= 400 {
				maps.Copy(header, plain.header) // Allow
				writeError(answer, r, plain.status, http.StatusText(plain.status))
				return
			}
		}
		handler.ServeHTTP(answer, r)
	})
}

// truncate shortens what a client sent, for the log. slog quotes what isn't printable.
func truncate(s string) string { return s[:min(len(s), maxLogged)] }

// A recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// A headerWriter takes the status and the headers of an answer, and drops the body.
type headerWriter struct {
	header http.Header
	status int
}

func (w *headerWriter) Header() http.Header         { return w.header }
func (w *headerWriter) WriteHeader(status int)      { w.status = status }
func (w *headerWriter) Write(p []byte) (int, error) { return len(p), nil }

// healthz says that the process serves, whatever the state of the users file.
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

// docs answers with the try-it page. Its policy allows this one script and style, known by their digests, and requests
// to this server, so that no injected code can run.
func docs(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", docsPolicy)
	w.WriteHeader(http.StatusOK)
	io.WriteString(w, docsPage)
}

var docsPolicy = "default-src 'none'; script-src " + digestOf("script") + "; style-src " + digestOf("style") +
	"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// digestOf returns the digest of an element of the page, as a content security policy has it.
func digestOf(element string) string {
	_, text, _ := strings.Cut(docsPage, "<"+element+">")
	text, _, _ = strings.Cut(text, "</"+element+">")
	digest := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

// run is the whole program. It returns the exit status: 0 after a signal, 1 if it can't serve, 2 for wrong usage.
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

// A config is what flags and environment say.
type config struct {
	addr, users     string
	cost            int
	tokenTTL        time.Duration
	origins         []string
	tlsCert, tlsKey string
	verbose         bool
	secret          string
}

// originPattern matches an origin as browsers send it.
var originPattern = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[a-z0-9.-]+)(:[0-9]+)?$`)

// configure reads flags and environment. An error says what would be right; flag.ErrHelp: -h was answered.
func configure(args []string, getenv func(string) string, stderr io.Writer) (config, error) {
	c := config{cost: 12, tokenTTL: time.Hour, secret: getenv("AUTH_SECRET")}
	flags := flag.NewFlagSet("authflow", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // its errors are returned
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8000", "listen on this `host:port`")
	flags.StringVar(&c.users, "users", "users.json", "store the users in this `file`")
	flags.Func("cost", "bcrypt's cost for new passwords, 4 to 16: one more doubles the work (default 12)",
		func(text string) (err error) {
			if c.cost, err = strconv.Atoi(text); err != nil || c.cost < minCost || c.cost > maxCost {
				return fmt.Errorf("it must be %d to %d", minCost, maxCost)
			}
			return nil
		})
	flags.Func("token-ttl", "how long a token is good for, in h, m and s (default 1h)",
		func(text string) (err error) {
			if c.tokenTTL, err = time.ParseDuration(text); err != nil || c.tokenTTL < time.Second {
				return errors.New("it must be at least 1s, in h, m and s, such as 24h or 1h30m")
			}
			return nil
		})
	flags.Func("allow-origin", "pages of this `origin`, such as http://localhost:5173, may call the API; may be repeated",
		func(text string) error {
			c.origins = append(c.origins, text)
			if !originPattern.MatchString(text) {
				return errors.New("it must be an origin in lower case, such as http://localhost:5173")
			}
			return nil
		})
	flags.StringVar(&c.tlsCert, "tls-cert", "", "serve HTTPS with the certificate (chain) in this PEM `file`")
	flags.StringVar(&c.tlsKey, "tls-key", "", "and with the private key in this PEM `file`")
	flags.BoolVar(&c.verbose, "v", false, "also log each step of a request, and the reason of each refusal")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(stderr)
			fmt.Fprint(stderr, "Usage: authflow [flags]\n\n")
			flags.PrintDefaults()
			fmt.Fprint(stderr, "\nEnvironment:\n  AUTH_SECRET\n    \tsigns the tokens: at least 32 bytes; without it, tokens end with the process\n")
		}
		return c, err
	}
	_, _, addrErr := net.SplitHostPort(c.addr)
	switch {
	case flags.NArg() > 0:
		return c, fmt.Errorf("unexpected argument %q: there are only flags", flags.Arg(0))
	case addrErr != nil:
		return c, fmt.Errorf("-addr must be host:port, such as 127.0.0.1:8000: %v", addrErr)
	case c.users == "":
		return c, errors.New("-users must name a file")
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return c, errors.New("-tls-cert and -tls-key go together")
	case c.secret != "" && len(c.secret) < minSecret:
		return c, fmt.Errorf("AUTH_SECRET must have at least %d bytes: try openssl rand -base64 32", minSecret)
	}
	return c, nil
}

// serve runs the service until ctx is done, and lets requests finish that have begun.
func serve(ctx context.Context, c config, stderr io.Writer) error {
	level := slog.LevelInfo
	if c.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	runtime.GOMAXPROCS(processors + 1) // withBcryptSlot says why

	// Listen first: where another authflow runs, this one ends before it touches the users file.
	ln, err := net.Listen("tcp", c.addr)
	if err != nil {
		return fmt.Errorf("%w: choose another address with -addr", err)
	}
	defer ln.Close()
	users, err := openStore(c.users, c.cost, log)
	if err != nil {
		return err
	}
	scheme, addr := "http", ln.Addr().(*net.TCPAddr)
	if c.tlsCert != "" {
		cert, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
		if err != nil {
			return fmt.Errorf("-tls-cert or -tls-key: %w", err)
		}
		scheme, ln = "https", tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}})
	} else if !addr.IP.IsLoopback() {
		log.Warn("passwords cross the network unencrypted: use -tls-cert and -tls-key, or a TLS proxy")
	}
	if c.secret == "" {
		c.secret = rand.Text() + rand.Text() // 256 bits
		log.Warn("AUTH_SECRET is not set: tokens end with this process")
	}
	if c.cost < safeCost {
		log.Warn("passwords are hashed too fast to be safe: use -cost 12", "cost", c.cost)
	}
	srv := newHTTPServer(newHandler(newServer(users, []byte(c.secret), c.tokenTTL), c.origins, log), log)
	for _, host := range hosts(addr.IP) {
		log.Info("listening", "url", scheme+"://"+net.JoinHostPort(host, strconv.Itoa(addr.Port)), "users", c.users)
	}

	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		log.Warn("stopped before all requests were answered", "err", err)
	}
	return nil
}

// newHTTPServer limits the time and the headers of each request.
func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn), // failed TLS handshakes
	}
}

// hosts returns where a listener on ip can be reached: for 0.0.0.0 and ::, at all addresses of this machine.
func hosts(ip net.IP) (hosts []string) {
	if !ip.IsUnspecified() {
		return []string{ip.String()}
	}
	addrs, _ := net.InterfaceAddrs()
	for _, addr := range addrs {
		if ipNet, ok := addr.(*net.IPNet); ok && !ipNet.IP.IsLinkLocalUnicast() {
			hosts = append(hosts, ipNet.IP.String())
		}
	}
	return hosts
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
    "description": "Sign up, log in, and ask who you are. Every answer is JSON."
  },
  "servers": [{"url": "/"}],
  "security": [],
  "tags": [{"name": "auth", "description": "Password and token"}],
  "paths": {
    "/auth/signup": {"post": {
      "operationId": "signup", "tags": ["auth"], "summary": "Create a user",
      "description": "If the username is taken, the answer is 400. After a 503 the user may exist.",
      "requestBody": {"required": true, "content": {"application/json": {"schema": {
        "type": "object", "required": ["username", "email"],
        "description": "hashed_password is the lesson's name for password. If both are sent, they must be equal.",
        "anyOf": [{"required": ["password"]}, {"required": ["hashed_password"]}], "properties": {
          "username": {
            "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9._@+-]+$",
            "description": "Enrico and enrico are the same name."
          },
          "email": {
            "type": "string", "maxLength": 254,
            "description": "One address, no display name, no comment. ünï@example.com is valid."
          },
          "password": {"$ref": "#/components/schemas/Password"},
          "hashed_password": {"$ref": "#/components/schemas/Password"}
        }
      }, "examples": {
        "password": {"value": {"username": "enrico", "email": "enrico@example.com", "password": "plaintextpassword"}},
        "lesson": {"value": {
          "username": "enrico", "email": "enrico@example.com", "hashed_password": "plaintextpassword"
        }}
      }}}},
      "responses": {
        "201": {"description": "The user is on disk", "content": {"application/json": {"schema": {
          "type": "object", "required": ["message", "user_id"], "properties": {
            "message": {"const": "User created"}, "user_id": {"type": "integer"}
          }
        }}}},
        "422": {"$ref": "#/components/responses/Invalid"}, "default": {"$ref": "#/components/responses/Error"}
      }
    }},
    "/auth/login": {"post": {
      "operationId": "login", "tags": ["auth"], "summary": "Log in and get a token",
      "description": "OAuth 2's password grant, for teaching and demos. RFC 9700 §2.4 forbids it for new systems.",
      "requestBody": {"required": true, "content": {"application/x-www-form-urlencoded": {"schema": {
        "type": "object", "description": "scope, client_id and client_secret are accepted, not used.",
        "required": ["username", "password"], "properties": {
          "username": {"type": "string", "minLength": 1},
          "password": {"type": "string", "minLength": 1, "format": "password"},
          "grant_type": {"type": "string", "enum": ["password", ""]},
          "scope": {"type": "string"}, "client_id": {"type": "string"}, "client_secret": {"type": "string"}
        }
      }}}},
      "responses": {
        "200": {"description": "Logged in", "content": {"application/json": {"schema": {
          "type": "object", "required": ["message", "user_id", "access_token", "token_type", "expires_in"],
          "properties": {
            "message": {"const": "Login successful"}, "user_id": {"type": "integer"},
            "access_token": {"type": "string"}, "token_type": {"const": "bearer"},
            "expires_in": {"type": "integer", "description": "Seconds"}
          }
        }}}},
        "401": {"$ref": "#/components/responses/Unauthorized"},
        "422": {"$ref": "#/components/responses/Invalid"}, "default": {"$ref": "#/components/responses/Error"}
      }
    }},
    "/auth/me": {"get": {
      "operationId": "me", "tags": ["auth"], "summary": "Show the user of this token",
      "description": "A token ends early if its user is disabled, removed, renamed or given another password.",
      "security": [{"OAuth2Password": []}],
      "responses": {
        "200": {"description": "The user", "content": {"application/json": {"schema": {
          "type": "object", "required": ["id", "username", "email", "is_active"], "properties": {
            "id": {"type": "integer"}, "username": {"type": "string"}, "email": {"type": "string"},
            "is_active": {"type": "boolean"}
          }
        }}}},
        "401": {"$ref": "#/components/responses/Unauthorized"}, "default": {"$ref": "#/components/responses/Error"}
      }
    }},
    "/healthz": {"get": {
      "operationId": "healthz", "tags": ["auth"], "summary": "Health check",
      "responses": {
        "200": {"description": "It runs", "content": {"application/json": {"schema": {
          "type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}
        }}}},
        "default": {"$ref": "#/components/responses/Error"}
      }
    }}
  },
  "components": {
    "securitySchemes": {"OAuth2Password": {
      "type": "oauth2", "flows": {"password": {"tokenUrl": "/auth/login", "scopes": {}}},
      "description": "Leave client_id and client_secret empty."
    }},
    "responses": {
      "Unauthorized": {
        "description": "Wrong password, unknown or disabled user, no token or an invalid token",
        "headers": {"WWW-Authenticate": {
          "description": "Bearer realm=\"auth\"; for a bad token also error=\"invalid_token\"",
          "required": true, "schema": {"type": "string"}
        }},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
      },
      "Invalid": {"description": "Invalid input: all faults at once", "content": {"application/json": {"schema": {
        "type": "object", "required": ["detail"], "properties": {
          "detail": {"type": "array", "items": {"type": "object", "required": ["type", "loc", "msg"], "properties": {
            "type": {"type": "string"}, "msg": {"type": "string"},
            "loc": {"type": "array", "items": {"type": ["string", "integer"]}}
          }}},
          "error": {"enum": ["invalid_request", "unsupported_grant_type"]}
        }
      }}}},
      "Error": {
        "description": "Other errors: 403 cross-origin, 413 over 64 KiB, 415 wrong Content-Type, 429 too many failures",
        "headers": {"Retry-After": {"description": "Seconds, at 429 and 503", "schema": {"type": "integer"}}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
      }
    },
    "schemas": {
      "Password": {
        "type": "string", "format": "password", "minLength": 8, "maxLength": 72,
        "description": "Plaintext. At most 72 bytes in UTF-8, no control characters."
      },
      "Error": {"type": "object", "required": ["detail"], "properties": {
        "detail": {"type": "string"},
        "error": {"description": "POST /auth/login sends it with every error (RFC 6749 §5.2).", "enum": [
          "invalid_request", "invalid_grant", "unsupported_grant_type", "temporarily_unavailable", "server_error"
        ]}
      }}
    }
  }
}
`
