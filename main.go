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
	readTimeout       = 10 * time.Second // 64 KiB at 52 kbit/s
	writeTimeout      = 60 * time.Second // to wait for bcrypt, to hash on a small machine, to answer
	idleTimeout       = 60 * time.Second // between two requests
	shutdownTimeout   = 10 * time.Second // for requests that have begun
)

// routes maps each request to its handler.
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

// newHandler returns the whole service: the routes, and the checks of every request.
func newHandler(s *server, origins []string, log *slog.Logger) http.Handler {
	mux := routes(s)
	var crossOrigin http.CrossOriginProtection
	var requests atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		log := log.With("req", requests.Add(1))
		r = withLogger(r, log)
		answer := &recorder{ResponseWriter: w}
		defer func() { // without query, headers and body: they may hold secrets
			log.Info("request", "method", truncate(r.Method), "path", truncate(r.URL.EscapedPath()), "status", answer.status,
				"took", time.Since(start), "addr", r.RemoteAddr)
		}()
		header := answer.Header()
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if strings.HasPrefix(r.URL.Path, "/auth/") {
			header.Set("Cache-Control", "no-store") // tokens and users (RFC 6749 §5.1)
		}
		if len(origins) > 0 {
			header.Set("Vary", "Origin")
		}
		origin := r.Header.Get("Origin")
		allowed := slices.Contains(origins, origin)
		if allowed { // the page may read the answer, and these headers
			header.Set("Access-Control-Allow-Origin", origin)
			header.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")
		} else if crossOrigin.Check(r) != nil { // login CSRF
			writeError(answer, r, http.StatusForbidden, "Cross-origin request refused")
			return
		} else if origin != "" && r.Method == http.MethodOptions {
			log.Debug("refused the preflight", "reason", "other origin")
		}
		if r.ContentLength > maxBody {
			writeTooLarge(answer, r)
			return
		}
		handler, pattern := mux.Handler(r)
		if pattern == "" { // no route: the mux redirects, or says 404 or 405 in plain text
			plain := &headerWriter{header: make(http.Header)}
			handler.ServeHTTP(plain, r)
			if allowed && r.Method == http.MethodOptions && plain.status == http.StatusMethodNotAllowed {
				// A preflight: the mux has the methods of the path in Allow.
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

// truncate shortens a client's text for the log.
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

// digestOf returns the digest of an element of the page, for the policy.
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
var originPattern = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:[0-9]+)?$`)

// configure reads flags and environment. It returns flag.ErrHelp after it has answered -h.
func configure(args []string, getenv func(string) string, stderr io.Writer) (config, error) {
	c := config{cost: 12, tokenTTL: time.Hour, secret: getenv("AUTH_SECRET")}
	flags := flag.NewFlagSet("authflow", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // its errors are returned
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8000", "listen on this `host:port`")
	flags.StringVar(&c.users, "users", "users.json", "store the users in this `file`")
	flags.Func("cost", "bcrypt's `cost` for new passwords, 4 to 16: one more doubles the work (default 12)",
		func(text string) error {
			if c.cost, _ = strconv.Atoi(text); c.cost < minCost || c.cost > maxCost {
				return fmt.Errorf("it must be %d to %d", minCost, maxCost)
			}
			return nil
		})
	flags.Func("token-ttl", "`time` for which a token is good, in h, m and s (default 1h)",
		func(text string) error {
			if c.tokenTTL, _ = time.ParseDuration(text); c.tokenTTL < time.Second {
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
			fmt.Fprint(stderr, "\nEnvironment:\n  AUTH_SECRET\n"+
				"    \tsigns the tokens: at least 32 bytes; without it, tokens end with the process\n")
		}
		return c, err
	}
	_, addrErr := net.ResolveTCPAddr("tcp", c.addr)
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

	// Listen first: if the port is taken, this ends before it touches the users file.
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
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>authflow: sign up, log in, who am I?</title><link rel="icon" href="data:,">
<style>
:root {
  color-scheme: light dark;
  --page: light-dark(#f1efea, #131518); --card: light-dark(#fff, #1c1f23);
  --ink: light-dark(#23272c, #e3e1dc); --quiet: light-dark(#565d66, #a9afb7); --accent: light-dark(#2b5f8f, #93c0ea);
  --good: light-dark(#2a6945, #8fd0aa); --bad: light-dark(#a5332b, #f3a59c);
  --header: light-dark(#0a6868, #71d0cb); --payload: light-dark(#7a3b90, #d6a8e8);
  --signature: light-dark(#855700, #e4bc6c);
}
* { box-sizing: border-box; margin: 0; border-radius: 0.375rem; }
[hidden], mark:empty { display: none !important; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
body { background: var(--page); color: var(--ink); font: 1rem/1.35 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 82rem; margin: 0 auto; padding: 0.75rem; }
section { margin-top: 0.75rem; padding: 0.75rem 1rem; background: var(--card); }
h2, h2 + p { display: inline; margin-right: 0.75rem; }
h3 { font-size: 1rem; }
.note, dd, pre + p { color: var(--quiet); }
.good { color: var(--good); }
.bad, [id$="-fault"] { color: var(--bad); }

/* The form */
form, .row, .columns { display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; }
form, .exchange, #token, details { margin-top: 0.5rem; }
.row { align-items: baseline; width: 100%; }
.field { position: relative; flex: 1 1 14rem; }
[name], textarea { display: block; width: 100%; }
.show { position: absolute; top: 0; right: 0; }
input, textarea, button { padding: 0.375rem 0.75rem; border: 1px solid var(--quiet); font: inherit; color: inherit;
  background: var(--card); }
button:first-child { background: var(--accent); color: var(--card); }
[aria-invalid] { border: 2px solid var(--bad); }

/* The request beside the answer */
pre, textarea, dt { font: 1rem/1.3 ui-monospace, Consolas, monospace; word-break: break-all; }
pre { padding: 0.375rem 0.75rem; background: var(--page); white-space: pre-wrap; }
.columns > * { flex: 2 1 18rem; min-width: 0; }
.part { flex: 1 1 13rem; }
.wide { flex-grow: 3; }
.part.wide { flex: 9 1 29rem; }

/* Each part of a token has a colour, and an underline for those who cannot see the colour */
.header, .payload, .signature { color: var(--header); font-weight: bold; text-decoration: underline 2px; }
.payload { color: var(--payload); text-decoration-style: dotted; }
.signature { color: var(--signature); text-decoration-style: double; }
mark { padding: 0 0.3ch; background: var(--bad); color: var(--card); }
.columns dl { flex: 9 1 11rem; display: grid; grid-template-columns: auto 1fr; gap: 0 1ch; align-content: center; }
</style>
<main><h1>authflow</h1>
<p>A password becomes a token in three steps. Each shows what goes over the wire. The API:
  <a href="/openapi.json">openapi.json</a></p>
<noscript><p class="bad">This page needs JavaScript. Without it, use curl.</p></noscript>
<section><h2>1. Sign up</h2><p>Sends JSON. The server stores a bcrypt hash, never the password.</p>
<form id="signup" method="post" aria-label="Sign up">
  <div class="field"><label>Username <input id="signup-username" name="username" autocomplete="username"></label>
    <p id="signup-username-fault"></p></div>
  <div class="field"><label>Email <input id="signup-email" name="email" type="email" autocomplete="email"></label>
    <p id="signup-email-fault"></p></div>
  <div class="field"><label>Password
    <input id="signup-password" name="password" type="password" autocomplete="new-password"></label>
    <label class="show"><input id="signup-show" type="checkbox"> Show the password</label>
    <p id="signup-password-fault"></p></div>
  <div class="row"><button>Sign up</button><p role="status" aria-live="polite"></p></div></form></section>
<section><h2>2. Log in</h2><p>Sends a form, as OAuth 2 asks. The answer brings a token.</p>
<form id="login" method="post" aria-label="Log in">
  <div class="field"><label>Username <input id="login-username" name="username" autocomplete="username"></label>
    <p id="login-username-fault"></p></div>
  <div class="field"><label>Password
    <input id="login-password" name="password" type="password" autocomplete="current-password"></label>
    <label class="show"><input id="login-show" type="checkbox"> Show the password</label>
    <p id="login-password-fault"></p></div>
  <div class="row"><button>Log in</button><p role="status" aria-live="polite"></p></div></form>
<div id="token" hidden>
  <div class="row"><h3>The token, taken apart</h3><b id="token-age" class="bad"></b>
    <p id="expiry"></p></div>
  <div class="columns">
    <div class="part"><h4 class="header">Header</h4><pre id="header" class="header"></pre>
      <p>is base64url of</p><pre id="header-json"></pre></div>
    <div class="part wide"><h4 class="payload">Payload</h4><pre id="payload" class="payload"></pre>
      <p>is base64url of</p>
      <div class="columns"><pre id="payload-json"></pre><dl>
        <dt>sub</dt><dd>the user's id</dd>
        <dt>iat</dt><dd>issued <span id="iat"></span></dd>
        <dt>exp</dt><dd>expires <span id="exp"></span></dd>
        <dt>pwd</dt><dd>a new password voids it</dd></dl></div></div>
    <div class="part"><h4 class="signature">Signature</h4><pre id="signature" class="signature"></pre>
      <p>is HMAC-SHA256 of the other two with the server's key. Anybody can read and change those,
      but without the key nobody can make a signature that fits.</p></div></div></div></section>
<section><h2>3. Who am I?</h2>
<p>Sends the token, no password. Try to forge it: change a character, paste another, or send none.</p>
<form id="me" method="post" aria-label="Who am I?">
  <div class="field"><label>Token
    <textarea id="me-token" rows="2" autocomplete="off" aria-describedby="token-note"></textarea></label>
    <p id="token-note"></p></div>
  <div class="row"><button>Who am I?</button><button id="forget" type="button">Forget the token</button>
    <p role="status" aria-live="polite"></p></div>
  <p class="note">Only this page forgets it. The server keeps no list: a copy stays good until exp.</p>
</form></section></main>
<template><div class="exchange columns" hidden>
  <div><h3>Request</h3><pre class="request"></pre>
    <details><summary></summary><pre class="curl"></pre>
    <button class="copy">Copy</button> <span class="copied" role="status"></span></details></div>
  <div class="wide"><h3>Answer (JSON indented)</h3><pre class="answer"></pre></div></div></template>
<script>
"use strict";
const byId = (id) => document.getElementById(id);
const partNames = ["header", "payload", "signature"];
const exchanges = {}; // by step: what it sent last, and the answer
let token = "", expiresAt = 0; // of the last log-in; a reload forgets them

// put fills an element. As textContent, whatever was typed or answered stays mere text.
const put = (selector, text, root = document) => { root.querySelector(selector).textContent = text; };

// putWire fills an element with text that may hold a token. Each part of the token gets its colour. The first
// character that differs from the token of step 2 is marked.
function putWire(element, text, sent) {
  const parts = sent.split("."), at = text.lastIndexOf(sent);
  element.textContent = text;
  if (parts.length !== 3 || at < 0) return;
  element.textContent = text.slice(0, at);
  parts.forEach((part, i) => {
    const [span, mark] = [document.createElement("span"), document.createElement("mark")];
    const given = (token || sent).split(".")[i];
    let same = 0;
    while (same < part.length && part[same] === given[same]) same++;
    mark.textContent = part.charAt(same);
    span.className = partNames[i];
    span.append(part.slice(0, same), mark, part.slice(same + 1));
    element.append(i ? "." : "", span);
  });
  element.append(text.slice(at + sent.length));
}

const say = (step, textContent, className = "") =>
  Object.assign(byId(step).querySelector("[role=status]"), { textContent, className });

// quote makes text one word of a shell: in single quotes, only the single quote is special.
const quote = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

// decode reads a part of a token. No key is needed: base64url is an encoding, not encryption.
function decode(part = "") {
  try {
    return JSON.parse(atob(part.replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return "unreadable";
  }
}

function compose(step, values) {
  if (step === "me") return { method: "GET", headers: values.token ? { Authorization: "Bearer " + values.token } : {} };
  const [type, body] = step === "signup" ? ["json", JSON.stringify(values)]
    : ["x-www-form-urlencoded", new URLSearchParams(values).toString()];
  return { method: "POST", headers: { "Content-Type": "application/" + type }, body };
}

// show writes out what a step sent last, and the answer.
function show(step) {
  if (!exchanges[step]) return;
  const { values, answer } = exchanges[step], exchange = byId(step).nextElementSibling, path = "/auth/" + step;
  const masked = values.password && !byId(step + "-show").checked; // sign-up refuses the mask: too short
  const { method, headers, body } = compose(step, masked ? { ...values, password: "***" } : values);
  const lines = Object.entries(headers).map(([name, value]) => name + ": " + value);
  const curl = ["curl -i " + quote(location.origin + path), ...lines.map((line) => "-H " + quote(line))];
  if (body) curl.push("--data " + quote(body));
  const request = [method + " " + path, ...lines, "", body].join("\n").trim();
  const texts = { request, answer, curl: curl.join(" \\\n  ") };
  for (const name in texts) putWire(exchange.querySelector("." + name), texts[name], values.token ?? token);
  put("summary", "The same with curl" + (masked ? ", password masked" : ""), exchange);
  put(".copied", "", exchange);
  exchange.hidden = false;
}

function clear(step) {
  delete exchanges[step];
  for (const pre of byId(step).parentNode.querySelectorAll("pre")) pre.textContent = "";
  byId(step).nextElementSibling.hidden = true;
  say(step, "");
}

// showFault puts a fault at its field, or returns its message if it has no field.
function showFault(form, { loc, msg }) {
  const input = byId(form.id + "-" + loc.at(-1));
  if (!input) return msg;
  byId(input.id + "-fault").append(input.ariaInvalid ? "; " : "", msg);
  input.setAttribute("aria-describedby", input.id + "-fault");
  input.ariaInvalid = "true";
}

function takeApart(answer) {
  const parts = String(answer.access_token).split("."), [header, payload] = parts.map(decode);
  if (parts.length !== 3) throw new Error("The answer has no three-part token");
  clear("me"); // it was about an earlier token
  token = byId("me-token").value = answer.access_token;
  expiresAt = Date.now() + (answer.expires_in * 1000 || 0); // not exp: the server's clock may differ
  partNames.forEach((name, i) => put("#" + name, parts[i]));
  put("#header-json", JSON.stringify(header, null, 2));
  put("#payload-json", JSON.stringify(payload, null, 2));
  for (const name of ["iat", "exp"]) put("#" + name, new Date(payload[name] * 1000).toLocaleString());
  put("#token-age", "");
  put("#expiry", "");
  byId("token").hidden = false;
  compareToken();
  return "The token is taken apart below";
}

function proceed(step, values, answer) {
  const username = byId("login-username"), password = byId("login-password");
  if (step === "login") return takeApart(answer);
  if (step === "me") return "You are " + answer.username;
  if (username.value || password.value) return "Now log in";
  [username.value, password.value] = [values.username, values.password];
  return "Username and password are copied to step 2";
}

function compareToken() {
  const sent = byId("me-token").value.trim(), changed = token && sent !== token;
  put("#token-note", (changed ? "Changed: not the token that you were given. " : "") +
    (sent ? "Its payload: " + JSON.stringify(decode(sent.split(".")[1])) : "Empty: no token is sent."));
  byId("token-note").className = changed ? "bad" : "note";
}

// The server does not say why it refuses a token, but this page knows which token it was given.
function whyRefused(sent) {
  const parts = sent.split("."), changed = partNames.filter((_, i) => parts[i] !== token.split(".")[i]);
  if (!sent) return "No token was sent";
  if (parts.length !== 3) return "A token has three parts";
  if (changed.length === 1) return "The signature does not fit: you changed the " + changed;
  return "Its signature does not fit, it has expired, or its user has changed";
}

async function send(event) {
  event.preventDefault();
  const form = event.target, step = form.id, button = form.querySelector("button"), notes = [], started = Date.now();
  for (const input of form.querySelectorAll("[name]")) {
    [input.ariaInvalid, byId(input.id + "-fault").textContent] = [null, ""];
  }
  const values = step === "me" ? { token: byId("me-token").value.trim() } : Object.fromEntries(new FormData(form));
  const exchange = exchanges[step] = { values, answer: "none" };
  show(step);
  say(step, "Sending…");
  button.disabled = true;
  if (step === "login") put("#token-age", "from an earlier log-in"); // until the answer brings another
  let good;
  try {
    if (/[^ -ÿ]/.test(values.token)) throw new Error("Nothing was sent: a header cannot carry such characters");
    const signal = AbortSignal.timeout(70_000); // the server ends each request within 60 s
    const response = await fetch("/auth/" + step, { ...compose(step, values), signal }).catch(() => null);
    const text = await response?.text().catch(() => null);
    if (text == null) throw new Error("No answer. Is the server running?");
    const { status, statusText, headers } = response, line = (status + " " + statusText).trim();
    notes.push(line + " in " + (Date.now() - started) + " ms");
    let answer, body = text;
    try {
      answer = JSON.parse(text);
      body = JSON.stringify(answer, null, 2);
    } catch {
      notes.push("The answer is " + (text ? "not JSON" : "empty"));
    }
    const lines = ["Content-Type", "Cache-Control", "WWW-Authenticate", "Retry-After"]
      .flatMap((name) => headers.has(name) ? name + ": " + headers.get(name) : []);
    exchange.answer = [line, ...lines, "", body].join("\n");
    for (const note of [answer?.detail ?? answer?.message].flat()) notes.push(note?.loc ? showFault(form, note) : note);
    if (headers.has("Retry-After")) notes.push("Try again in " + headers.get("Retry-After") + " s");
    if (step === "me" && status === 401) notes.push(whyRefused(values.token));
    good = response.ok && answer;
    if (good) notes.push(proceed(step, values, answer));
  } catch (error) {
    good = false;
    notes.push(error.message);
  }
  show(step);
  say(step, notes.filter(Boolean).join(". "), good ? "good" : "bad");
  button.disabled = false;
  if (document.activeElement === document.body) button.focus(); // disabling took the focus away
  const wrong = form.querySelector("[aria-invalid]");
  if (wrong) wrong.focus();
  else if (!matchMedia("(prefers-reduced-motion: reduce)").matches) form.parentNode.scrollIntoView();
}

for (const form of document.forms) {
  form.after(document.querySelector("template").content.cloneNode(true));
  form.addEventListener("submit", send);
  [form.noValidate, form.spellcheck, form.autocapitalize] = [true, false, "none"];
  const section = form.parentNode, curl = section.querySelector(".curl"), reveal = byId(form.id + "-show");
  section.querySelector(".copy").addEventListener("click", async () => {
    const copied = await navigator.clipboard?.writeText(curl.textContent).then(() => "Copied", () => "");
    if (!copied) getSelection().selectAllChildren(curl); // over plain HTTP, only localhost may use the clipboard
    put(".copied", copied || "Selected for copying", section);
  });
  reveal?.addEventListener("change", () => {
    byId(form.id + "-password").type = reveal.checked ? "text" : "password";
    show(form.id);
  });
}
byId("me-token").addEventListener("input", compareToken);
byId("forget").addEventListener("click", () => {
  token = byId("me-token").value = "";
  ["login", "me"].forEach(clear);
  byId("token").hidden = true;
  compareToken();
  say("me", "Forgotten by this page");
});
compareToken();
setInterval(() => {
  const left = Math.max(0, Math.ceil((expiresAt - Date.now()) / 1000));
  const hours = left < 3600 ? "" : Math.floor(left / 3600) + ":";
  const clock = new Date(left * 1000).toISOString().slice(left < 600 ? 15 : 14, 19);
  put("#expiry", left ? "expires in " + hours + clock : "expired");
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
