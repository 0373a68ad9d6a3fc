// Authflow is a sign-up and log-in service to learn from, with bcrypt, OAuth 2's password form
// and a signed token. These are its three requests:
//
//	POST /auth/signup {"username":"enrico","email":"e@example.com","password":"plaintextpassword"}
//	201 {"message":"User created","user_id":1}
//
//	POST /auth/login username=enrico&password=plaintextpassword
//	200 {"message":"Login successful","user_id":1,"access_token":"eyJhbGci…", …}
//
//	GET /auth/me Authorization: Bearer eyJhbGci…
//	200 {"id":1,"username":"enrico","email":"e@example.com","is_active":true}
//
// The users are stored in one JSON file, users.json: passwords as bcrypt hashes, all else in
// plain text.
//
// Read main.go, auth.go and store.go in this order, each from its top down to the line "What
// protects the flow". What stands below that line can wait.
package main

import (
	"cmp"
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
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ---- The routes ----

// routes says which handler answers which request.
//
// mux.Handle wants a value that has a method ServeHTTP. A type of functions can have methods,
// too, and auth.go has such a type, apiHandler: its ServeHTTP calls the function.
// apiHandler(s.signup) converts s.signup to that type, as float64(1) converts a number. Nothing is
// called yet.
func routes(s *server) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("POST /auth/signup", apiHandler(s.signup))
	mux.Handle("POST /auth/login", apiHandler(s.login))
	mux.Handle("GET /auth/me", s.requireUser(s.me)) // requireUser returns an apiHandler
	mux.Handle("GET /healthz", apiHandler(healthz))
	mux.HandleFunc("GET /openapi.json", openapi) // HandleFunc takes functions without an error
	mux.HandleFunc("GET /docs", docs)
	mux.Handle("GET /{$}", http.RedirectHandler("/docs", http.StatusTemporaryRedirect)) // only /
	mux.Handle("/", noRoute(mux))                                                       // all else
	return mux
}

// newHandler returns the whole service. Each function wraps the next one, as middleware does in
// FastAPI: a request passes logRequests first, and the routes last.
func newHandler(s *server, origins []string, log *slog.Logger) http.Handler {
	return logRequests(log,
		setHeaders(
			allowOrigins(origins,
				refuseOtherOrigins(origins,
					routes(s)))))
}

// ---- What protects the flow ----
//
// Each of the four functions of newHandler gets the next handler, and returns a handler that calls
// it, or answers the request itself. What is outside the inner function runs once, at the start.

// logRequests gives each request a number and writes a line about it into the log. Query, headers
// and body are not in that line: they may hold secrets.
func logRequests(log *slog.Logger, next http.Handler) http.Handler {
	var requests atomic.Int64 // a number that many goroutines may change at the same time
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		numbered := log.With("req", requests.Add(1)) // each of its lines has req=1, or req=2, …
		rec := &recorder{w, 0}

		// Both deferred calls run at the end, also if a handler panics: answerPanic first.
		defer func() {
			numbered.Info("request",
				"method", truncate(r.Method), "path", truncate(r.URL.EscapedPath()),
				"status", rec.status, "took", time.Since(start), "addr", r.RemoteAddr)
		}()
		r = withLogger(r, numbered)
		defer answerPanic(rec, r)
		next.ServeHTTP(rec, r)
	})
}

func truncate(s string) string { return s[:min(len(s), 200)] }

// A recorder remembers the status of an answer. The field without a name is embedded: the recorder
// has all its methods, as if it inherited them, and defines two of them itself.
type recorder struct {
	http.ResponseWriter
	status int // 0 until the answer begins
}

func (rec *recorder) WriteHeader(status int) {
	if rec.status == 0 { // the client gets the first status
		rec.status = status
	}
	rec.ResponseWriter.WriteHeader(status)
}

func (rec *recorder) Write(text []byte) (int, error) {
	if rec.status == 0 { // a handler that sets no status answers 200
		rec.WriteHeader(http.StatusOK)
	}
	return rec.ResponseWriter.Write(text)
}

func answerPanic(rec *recorder, r *http.Request) {
	cause := recover() // like except: ends the panic, and returns its cause, or nil
	if cause == nil {
		return
	}
	log := logger(r.Context())
	log.Error("a handler panicked", "cause", cause)
	for line := range strings.Lines(string(debug.Stack())) {
		log.Error("stack", "line", strings.TrimSpace(line))
	}

	// If the answer has begun, it is too late for a 500. This panic is net/http's way to cut the
	// connection, so the client sees that the answer is not whole.
	if rec.status != 0 {
		panic(http.ErrAbortHandler)
	}
	writeError(rec, r, errors.New("see the panic above"))
}

// setHeaders tells browsers how to treat our answers.
func setHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff") // believe our Content-Type
		w.Header().Set("Cache-Control", "no-store")         // keep no tokens and no users
		next.ServeHTTP(w, r)
	})
}

// allowOrigins lets pages of other origins use the API (CORS). An origin is scheme, host and port
// of a page: http://localhost:5173. A browser hides our answer from the script of such a page,
// unless the answer names the page's origin in Access-Control-Allow-Origin.
func allowOrigins(origins []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if !slices.Contains(origins, origin) {
			next.ServeHTTP(w, r)
			return
		}

		// The page may read the answer, and these two headers.
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")

		// Before some requests, such as a POST with JSON, the browser asks with OPTIONS whether the
		// page may send them. This question is a preflight.
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE")
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuseOtherOrigins refuses what a page of any other origin sends, except GET, HEAD and OPTIONS.
// CORS only hides our answer. A request without a preflight, such as the form of a log-in, is
// sent and carried out. So any page that you open could try passwords here (CSRF).
//
// Browsers say in the headers Sec-Fetch-Site and Origin where a request comes from. A request
// with neither passes: it is from curl, or another program.
func refuseOtherOrigins(origins []string, next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	for _, origin := range origins {
		protection.AddTrustedOrigin(origin) // no error: addOrigin, below, has tried it
	}
	protection.SetDenyHandler(apiHandler(func(w http.ResponseWriter, r *http.Request) error {
		return refuse(http.StatusForbidden, "Cross-origin request refused").
			because("-allow-origin does not name " + truncate(r.Header.Get("Origin")))
	}))
	return protection.Handler(next)
}

// ---- The other routes ----

// noRoute answers what no other route fits: 404, or 405 if the path has a route for another
// method.
func noRoute(mux *http.ServeMux) apiHandler {
	return func(w http.ResponseWriter, r *http.Request) error {
		// Which methods has this path? mux.Handler tells the route of a request, and doesn't call
		// it. "/" is the route of noRoute itself.
		var allowed []string
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			other := *r
			other.Method = method
			if _, route := mux.Handler(&other); route != "/" {
				allowed = append(allowed, method)
			}
		}

		if allowed == nil {
			return refuse(http.StatusNotFound, "Not Found")
		}
		return refuse(http.StatusMethodNotAllowed, "Method Not Allowed").
			with("Allow", strings.Join(allowed, ", "))
	}
}

// healthz says that the process serves, even if the users file has a fault.
func healthz(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func openapi(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, openapiDocument)
}

func docs(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", docsPolicy)
	io.WriteString(w, docsPage)
}

// docsPolicy tells the browser what the page may do. The page has one script, and the policy has
// its digest. If somebody gets another script into the page, the browser doesn't run it.
var docsPolicy = strings.Join([]string{
	"default-src 'none'",               // load nothing, except:
	"script-src " + digestOf("script"), // run this script
	"style-src " + digestOf("style"),   // use this style sheet
	"img-src data:",                    // show the icon, which is empty
	"connect-src 'self'",               // send requests to this server
	"base-uri 'none'",                  // no <base> element changes where links lead
	"form-action 'none'",               // only the script sends the forms
	"frame-ancestors 'none'",           // no other page may show this one in a frame (clickjacking)
}, "; ")

// digestOf returns the digest of an element of the page: 'sha256-mUqE…'
func digestOf(element string) string {
	_, text, _ := strings.Cut(docsPage, "<"+element+">")
	text, _, _ = strings.Cut(text, "</"+element+">")
	digest := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
}

// ---- The program ----

func main() {
	// A context tells others when to stop. This one does so at Ctrl-C, or at SIGTERM.
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

const manual = "Usage: [AUTH_SECRET=…] authflow [flags]\n\n" +
	"AUTH_SECRET signs the tokens. It has at least 32 bytes. If it is not set, tokens end with the " +
	"process.\n\n"

// run serves until ctx is done, and returns the exit status: 0 after a signal or -h, 1 if it can't
// serve, 2 for wrong usage.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	c := config{secret: getenv("AUTH_SECRET")}
	flags := c.newFlags()
	flags.SetOutput(io.Discard) // after an error, Parse would print the whole manual, too
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, manual)
		flags.PrintDefaults()
		return 0
	}

	if err == nil {
		err = c.check(flags.Args())
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
	secret          string // AUTH_SECRET; "" if it is not set
}

// newFlags returns the flags. Parse writes their values into c. -h shows the word in backquotes
// after the flag: -users file.
func (c *config) newFlags() *flag.FlagSet {
	flags := flag.NewFlagSet("authflow", flag.ContinueOnError)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8000", "listen on this `host:port`")
	flags.StringVar(&c.users, "users", "users.json", "store the users in this `file`")
	flags.IntVar(&c.cost, "cost", 12, "bcrypt's `cost` for new passwords, 4 to 16: +1 is twice the work")
	flags.DurationVar(&c.tokenTTL, "token-ttl", time.Hour, "a token is good for this `time`: 1h, 90s")
	flags.Func("allow-origin", "let pages of this `origin` call the API, such as "+
		"http://localhost:5173; may be repeated", c.addOrigin)
	flags.StringVar(&c.tlsCert, "tls-cert", "", "serve HTTPS with the certificates in this PEM `file`")
	flags.StringVar(&c.tlsKey, "tls-key", "", "and with the private key in this PEM `file`")
	flags.BoolVar(&c.verbose, "v", false, "also log each step, and the reason of each refusal")
	return flags
}

var (
	// An origin as browsers send it, such as http://localhost:5173 or http://[::1]:5173. They
	// leave out a default port.
	originPattern = regexp.MustCompile(`^[a-z-]+://([a-z0-9._-]+|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?$`)
	defaultPort   = regexp.MustCompile(`^http://.*:80$|^https://.*:443$`)
)

func (c *config) addOrigin(origin string) error {
	err := http.NewCrossOriginProtection().AddTrustedOrigin(origin)
	if err != nil || !originPattern.MatchString(origin) || defaultPort.MatchString(origin) {
		return errors.New("an origin is in lower case, and has no path and no default port: " +
			"http://localhost:5173")
	}
	c.origins = append(c.origins, origin)
	return nil
}

const (
	minSecret = 32 // bytes: as long as the digest of HMAC-SHA256 (RFC 7518 §3.2)
	safeCost  = 10 // below it bcrypt is too fast (OWASP Password Storage Cheat Sheet)
	minCost   = 4  // bcrypt's lowest; bcryptHash, in store.go, must have the same limits
	maxCost   = 16 // a log-in takes seconds
)

func (c *config) check(arguments []string) error {
	_, port, _ := net.SplitHostPort(c.addr)
	switch {
	case len(arguments) > 0:
		return fmt.Errorf("unexpected argument %q: there are only flags", arguments[0])
	case port == "": // an empty -addr may be a variable that is not set
		return errors.New("-addr must be host:port, such as 127.0.0.1:8000")
	case c.users == "":
		return errors.New("-users must not be empty")
	case c.cost < minCost || c.cost > maxCost:
		return fmt.Errorf("-cost must be from %d to %d", minCost, maxCost)
	case c.tokenTTL < time.Second:
		return errors.New("-token-ttl must be at least 1s")
	case (c.tlsCert == "") != (c.tlsKey == ""):
		return errors.New("-tls-cert and -tls-key go together")
	case c.secret != "" && len(c.secret) < minSecret:
		return fmt.Errorf("AUTH_SECRET must have at least %d bytes: try openssl rand -base64 32",
			minSecret)
	}
	return nil
}

func serve(ctx context.Context, c config, stderr io.Writer) error {
	log := newLogger(stderr, c.verbose)

	// GOMAXPROCS is how many goroutines Go runs at the same time: one for each processor. bcrypt
	// may take all of them, and then other requests would wait. So allow one more.
	runtime.GOMAXPROCS(processors + 1)

	// Listen first: if the port is taken, this ends before it touches the users file.
	listener, err := listen(c)
	if err != nil {
		return err
	}
	defer listener.Close()
	st, err := openStore(c.users, log)
	if err != nil {
		return err
	}

	addr := listener.Addr().(*net.TCPAddr)
	warnOfRisks(log, c, addr)
	logAddresses(log, c, addr)

	// Without AUTH_SECRET, take a random one: cmp.Or returns the first text that is not "".
	secret := cmp.Or(c.secret, rand.Text()+rand.Text())
	s := newServer(st, []byte(secret), c.tokenTTL, c.cost)
	srv := newHTTPServer(newHandler(s, c.origins, log), log)
	return serveUntil(ctx, srv, listener, log)
}

// With -v (verbose), the log has the lines of level Debug, too.
func newLogger(stderr io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
}

// listen listens on -addr: with TLS, if there is a certificate.
func listen(c config) (net.Listener, error) {
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		return nil, fmt.Errorf("%w: choose another address with -addr", err)
	}
	if c.tlsCert == "" {
		return listener, nil
	}
	cert, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("-tls-cert or -tls-key: %w", err)
	}
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}}), nil
}

func warnOfRisks(log *slog.Logger, c config, addr *net.TCPAddr) {
	if c.tlsCert == "" && !addr.IP.IsLoopback() {
		log.Warn("passwords cross the network unencrypted: use -tls-cert and -tls-key, " +
			"or a TLS proxy")
	}
	if c.secret == "" {
		log.Warn("AUTH_SECRET is not set, or empty: after a restart, no token is valid any more")
	}
	if c.cost < safeCost {
		log.Warn("passwords are hashed too fast to be safe: use -cost 12", "cost", c.cost)
	}
}

func logAddresses(log *slog.Logger, c config, addr *net.TCPAddr) {
	scheme := "http"
	if c.tlsCert != "" {
		scheme = "https"
	}
	for _, host := range hosts(addr.IP) {
		url := scheme + "://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
		log.Info("listening", "url", url, "users", c.users)
	}
}

// hosts returns the addresses of a listener. If it listens on 0.0.0.0 or ::, these are the IPv4
// addresses of this machine.
func hosts(ip net.IP) []string {
	if !ip.IsUnspecified() {
		return []string{ip.String()}
	}
	all := []string{"127.0.0.1"}
	addrs, _ := net.InterfaceAddrs()
	for _, addr := range addrs {
		ipNet, ok := addr.(*net.IPNet)
		if ok && ipNet.IP.To4() != nil && !ipNet.IP.IsLoopback() {
			all = append(all, ipNet.IP.String())
		}
	}
	return all
}

const maxStop = 5 * time.Second // for requests in flight; docker kills after 10 s

// serveUntil serves until ctx is done. Then requests that have begun may finish.
func serveUntil(ctx context.Context, srv *http.Server, listener net.Listener,
	log *slog.Logger) error {
	// done has room for one value. So the goroutine can end even if nobody receives its error, as
	// after a signal.
	done := make(chan error, 1)
	go func() { done <- srv.Serve(listener) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}

	log.Info("stopping")
	limit, cancel := context.WithTimeout(context.Background(), maxStop) // ctx is done already
	defer cancel()
	if err := srv.Shutdown(limit); err != nil {
		log.Warn("stopped while connections were open", "err", err)
	}
	return nil
}

func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second, // enough for a body of 64 KiB over a slow line
		WriteTimeout:      60 * time.Second, // 15 s to wait for bcrypt, and the work
		IdleTimeout:       60 * time.Second, // between two requests of a connection
		MaxHeaderBytes:    16 << 10,         // a token has about 200

		// net/http logs what it refuses itself, such as a failed TLS handshake.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// ---- The two documents ----

// docsPage is the try-it page: the flow in three steps, each with what goes over the wire.
const docsPage = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>authflow</title><link rel="icon" href="data:,">
<style>
:root {
	color-scheme: light dark; scroll-padding-top: 40vh; scrollbar-color: var(--quiet) transparent;
	--quiet: light-dark(#565d66, #a9afb7); --accent: light-dark(#2b5f8f, #93c0ea);
	--bad: light-dark(#a5332b, #f3a59c);
	/* 18 px at 1280x720 and at 1366x650, more on a larger screen */
	font: clamp(100%, min(1.41vw, 2.78vh), 250%)/1.3 system-ui, sans-serif;
}
* { box-sizing: border-box; min-width: 0; margin: 0; padding: 0; border: 0 solid; border-radius: .3rem; }
body { background: light-dark(#efede8, #2c2f34); overflow-wrap: anywhere; }
main, #steps, #wire, #token, #way, .place { display: grid; gap: .4rem; }
main { padding: .4rem; }
form, section, #verdict, #way, .place { padding: .2rem .5rem; background: Canvas; }
h1, h2, h3 { font-size: 1rem; }
h2, .row { display: flex; flex-wrap: wrap; gap: 0 .6rem; align-items: center; justify-content: space-between; }
#verdict { position: sticky; top: 0; z-index: 1; max-height: 38vh; overflow: auto; border-width: .12rem; }
#verdict, #sentence { font-size: clamp(1.1rem, 1.9vw, 1.35rem); line-height: 1.2; min-height: 1.2em; }
form p, #mask, #seal, #notes, .start span, ::placeholder { color: var(--quiet); }
.good { color: light-dark(#2a6945, #8fd0aa); }
.bad { color: var(--bad) !important; }

/* The steps. The mark of a fault and the focus differ in shape, too. */
form { display: grid; grid: auto / auto 1fr auto; gap: .25rem .5rem; align-content: start; align-items: center; }
form label { display: contents; }
h2, form p { grid-column: 1 / 4; align-self: start; }
h2 { min-height: 1.7rem; }
h2 :empty, mark:empty { display: none; }
input { grid-column: 2 / 4; }
input, textarea, button { padding: .1rem .5rem; border: .06rem solid var(--quiet); font: inherit; color: inherit;
	background: Canvas; }
[type=checkbox] { width: 1em; height: 1em; }
[aria-invalid] { border: solid var(--bad); border-width: .06rem .06rem .06rem .5rem; }
:focus-visible { outline: .17rem solid var(--accent); outline-offset: .06rem; }

/* The way: two places, what is kept there, and what travels */
.place { border-width: .12rem; gap: .3rem; align-content: start; }
.place b { padding: 0 .4rem; border: .12rem dashed; color: var(--quiet); }
.place p:not(.lit) b { &::before { content: "no "; } .start &::after { content: " yet"; } }
#way:not(.start) ol + div h3::after { content: " (this page adds ✓ and ✗)"; }
.lit b { border: .12rem solid; color: var(--accent); }
.here b, button:not([type]), mark { background: var(--accent); color: Canvas; forced-color-adjust: none; }
.start :is(#checks, #sentence), .start ~ :is(#wire, #token), .place span { display: none; }
.start span { display: block; }
ol { list-style: none; line-height: 1.2; }
#trips li { position: relative; padding: 0 .5rem .1rem; border-bottom: .12rem solid; border-radius: 0; }
#trips li::after { content: ""; position: absolute; bottom: -.46rem; right: -.5rem; border: .4rem solid transparent;
	border-left-color: currentColor; }
#trips .from { text-align: right; }
#trips .from::after { left: -.5rem; right: auto; border-color: transparent currentColor transparent transparent; }

/* The wire and the token: only tokens break within words */
pre, textarea { font: 1rem/1.2 ui-monospace, Consolas, monospace; white-space: pre-wrap; }
.header, .payload, .signature { word-break: break-all; letter-spacing: -.04em; }
.header { color: light-dark(#0a6868, #71d0cb); font-weight: bold; }
.payload { color: light-dark(#7a3b90, #d6a8e8); font-style: italic; }
.signature { color: light-dark(#855700, #e4bc6c); font-weight: bold; text-decoration: underline; }
mark { background: var(--bad); }
#claims { display: flex; flex-wrap: wrap; gap: .3rem 0; }
textarea { flex: 0 0 23.5ch; padding: 0 .3rem; white-space: pre; resize: none; }
.given { background: linear-gradient(light-dark(#ffe066, #6b5600) 0 0) calc(8ch + .3rem) 0 / 3ch 1.2rem no-repeat; }
#notes { flex: 1 8.5rem; min-height: 6.1rem; padding: .06rem 0 0 1ch; line-height: 1.2rem; }

@media (width < 44rem) { #notes li::before { content: attr(class) ": "; } }
@media (width >= 62rem) {
	main { grid: max(4.1rem, 11vh) auto minmax(0, 1fr) auto / 19.6rem 1fr; height: 100vh; min-height: 35.9rem; }
	main > * { grid-column: 2; overflow: auto; }
	#verdict { position: static; max-height: none; }
	header { grid-area: 1 / 1; align-content: center; }
	#steps { grid: 1.6fr 1fr 1.1fr / 1fr; grid-area: 2 / 1 / 5; }
	form, form p, pre { overflow: auto; }
	form p { max-height: 100%; }
	#whose { height: 1.3rem; }
	form > button { grid-area: 1 / 3; }
	form > h2 { grid-column: 1 / 3; }
	#way { grid: auto / 7.8rem 12rem 1fr; gap: .2rem .8rem; }
	.place + ol { align-self: center; }
	.place:has(ol) { grid: auto / 1fr auto auto; }
	#checks, #sentence { grid-column: 1 / 4; }
	#way.start { grid: 1fr / 14.4rem 1fr 14.4rem; grid-row: 2 / 5; font-size: 1.35rem;
		.place { grid: 2rem 1fr 1fr / 1fr; }
		#trips { display: grid; grid-auto-rows: 6.2rem; align-items: center; }
	}
	#wire { grid: minmax(0, 1fr) / 5fr 7fr; }
	#wire section { display: grid; grid-template-rows: auto minmax(0, 1fr); }
	#token { grid: auto / 10.7rem 1fr 11.9rem; }
	#header, #signature { min-height: 3.6rem; }
	#payload { min-height: 2.4rem; }
}
</style>
<main spellcheck="false">
<header class="row"><h1>authflow: from password to token</h1>
	<a href="/openapi.json">openapi.json</a><label><input id="reveal" type="checkbox"> Show passwords</label></header>
<p id="verdict" role="status">
	Three clicks: Sign up, Log in, Who am I? Each shows what is sent and what the server does.
	<noscript>This page needs JavaScript.</noscript></p>
<div id="way" class="start">
	<div class="place"><h3>Browser</h3>
		<p id="at-Password"><b>Password</b> <span>You type it. It is sent two times, and stored nowhere.</span></p>
		<p id="at-Token"><b>Token</b> <span>Says who you are. Only the browser keeps it.</span></p></div>
	<ol id="trips"></ol>
	<div class="place"><h3>Server</h3>
		<p id="at-Hash"><b>Hash</b>
			<span>Made of the password, and stored instead. Nobody can turn it back into the password.</span></p>
		<p id="at-Key"><b>Key</b> <span>Secret. It signs the token. Later it shows if the token was changed.</span></p>
		<ol id="checks"></ol></div>
	<p id="sentence"></p>
</div>
<div id="steps">
<form id="signup" autocapitalize="none" aria-label="Sign up">
	<h2>Step 1 <button type="button"></button></h2>
	<label>Username <input name="username" autocomplete="username" value="enrico"></label>
	<label>Email <input name="email" autocomplete="email" value="enrico@example.com"></label>
	<label>Password <input name="password" type="password" autocomplete="new-password"
		value="plaintextpassword"></label>
	<p></p><button>Sign up</button></form>
<form id="login" autocapitalize="none" aria-label="Log in">
	<h2>Step 2 <button type="button"></button></h2>
	<label>Username <input name="username" autocomplete="username" value="enrico"></label>
	<label>Password <input name="password" type="password" autocomplete="current-password"
		value="plaintextpassword"></label>
	<p></p><button>Log in</button></form>
<form id="me" autocapitalize="none" aria-label="Who am I?">
	<h2>Step 3 <button type="button"></button></h2>
	<label>Token <input name="token" autocomplete="off"></label>
	<p id="whose"></p><button>Who am I?</button>
	<p class="row"><button id="restore" type="button">Restore</button>
		<button id="forget" type="button">Forget</button></p></form>
</div>
<div id="wire">
	<section><div class="row"><h3>Request</h3>
		<label><input id="curl" type="checkbox"> as curl</label> <button id="copy" type="button">Copy</button></div>
		<pre id="request" tabindex="0" role="region" aria-label="Request"></pre><p id="mask"></p></section>
	<section><h3>Answer</h3>
		<pre id="answer" tabindex="0" role="region" aria-label="Answer"></pre></section>
</div>
<div id="token">
	<section><h3 class="header">Header</h3><pre id="header"></pre><pre id="header-json"></pre></section>
	<section><div class="row"><h3 class="payload">Payload</h3><span id="age"></span></div>
		<pre id="payload"></pre>
		<div id="claims"><textarea id="payload-json" rows="4" placeholder="from step 2"
			aria-label="Payload, decoded"></textarea><ol id="notes"></ol></div></section>
	<section><h3 class="signature">Signature</h3><pre id="signature"></pre><p id="seal"></p></section>
</div>
</main>
<script>
"use strict";
const byId = (id) => document.getElementById(id), all = (selector) => document.querySelectorAll(selector);
const create = (name, properties) => Object.assign(document.createElement(name), properties);
const sent = byId("me").elements.token, claims = byId("payload-json"), partNames = ["header", "payload", "signature"];
const exchanges = { signup: {}, login: {}, me: {} }; // what each step sends or has sent, and the answer
const edits = { signup: 0, login: 0, me: 0 }; // of each form
const users = new Map(); // "1": "enrico", from sign-ups and log-ins
let shown = ""; // the step on the stage
let token = ""; // as it was given
let tried = false; // a token for a user who isn't there?
let clock = NaN; // how far the server's is ahead, in ms: only an answer tells

const trips = { signup: "1. Sign up: password", login: "2. Log in: password", me: "3. Who am I? token" };

// What the server checks, in its order, and how each check ends if it is passed, or isn't.
// The server doesn't tell: the page concludes it from status and token.
const checks = {
	signup: [["makes a hash, slowly", "done"],
		["looks if the name is free", "yes", "no"], ["stores name, email and hash", "done"]],
	login: [["looks up the name", "an active user"], ["compares the password", "fits the hash"],
		["signs a token with the key", "done, keeps no copy"]],
	me: [["makes the signature again", "same as the token's", "not the token's"],
		["looks at the clock", "not expired", "expired"], ["looks up user # and pwd", "both fit"]],
};

// The station that the step has led to, and what it means there.
const reached = {
	"signup ✓✓✓": "Hash: stored instead of the password. Nobody can turn it back.",
	"login ✓✓✓": "Token: only the browser keeps it. The server has no copy.",
	"login ??–": "Hash: this password doesn't fit, or no active user has this name.",
	"me ✓✓✓": "Key: it makes the same signature again. Nothing was changed.",
	"me ✗––": "Key: only it can sign the new payload, and only the server has it.",
};
const noToken = "There is no token yet. Log in.";

// As textContent, any input stays mere text. The same text isn't put again: it would be read aloud again.
function put(id, text, className = "") {
	const element = Object.assign(byId(id), { className });
	if (element.textContent !== text) element.textContent = text;
}

function putItems(id, items) {
	byId(id).replaceChildren(...items.map(([className, textContent]) => create("li", { className, textContent })));
}

// base64url is an encoding, not encryption: no key is needed.
const encode = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)))
	.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

function decode(part = "") {
	try {
		const bytes = atob(part.replaceAll("-", "+").replaceAll("_", "/"));
		return new TextDecoder().decode(Uint8Array.from(bytes, (byte) => byte.charCodeAt()));
	} catch {
		return "not base64url";
	}
}

function parse(text) {
	try {
		return JSON.parse(text);
	} catch {}
}

// format writes JSON as a token does, or one member a line. Any other text stays as it is.
function format(text, indent) {
	if (!parse(text)) return text;
	return JSON.stringify(parse(text), null, indent).replace("{\n ", "{").replace(/\n}$/, "}");
}

const claimsOf = (jwt) => ({ ...parse(decode(jwt.split(".")[1])) });

// dateOf takes seconds since 1970. Anything else becomes an invalid date: NaN.
const dateOf = (seconds) => new Date(typeof seconds === "number" ? seconds * 1000 : NaN);
const secondsLeft = (jwt) => dateOf(claimsOf(jwt).exp) / 1000 - Math.floor((Date.now() + clock) / 1000);

function changed(jwt) {
	const parts = jwt.split("."), given = token.split(".");
	if (!token || jwt === token) return "";
	if (parts.length !== 3) return "the token";
	return "the " + partNames.filter((_, i) => parts[i] !== given[i]).join(" and ");
}

// paint marks the first character that isn't as it was given.
function paint(part, i) {
	const given = token ? token.split(".")[i] : part, span = create("span", { className: partNames[i] });
	let same = 0;
	while (same < part.length && part[same] === given?.[same]) same++;
	span.append(part.slice(0, same), create("mark", { textContent: part.charAt(same) }), part.slice(same + 1));
	return span;
}

// breakable lets a line end after "," and "&": JSON and forms have no blanks there.
const breakable = (text) => text.split(/(?<=[,&])/).flatMap((piece) => [create("wbr"), piece]);

function putWire(id, text, jwt) {
	if (!text.includes(jwt)) jwt = "";
	const at = text.lastIndexOf(jwt), parts = jwt.split(".").flatMap((part, i) => [i ? "." : "", paint(part, i)]);
	byId(id).replaceChildren(...breakable(text.slice(0, at)), ...parts, ...breakable(text.slice(at + jwt.length)));
}

// quote makes text one word of a shell.
const quote = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

function compose(step, values) {
	if (step === "me") return { headers: values.token ? { Authorization: "Bearer " + values.token } : {} };
	const [type, body] = step === "signup" ? ["json", JSON.stringify(values)]
		: ["x-www-form-urlencoded", new URLSearchParams(values).toString()];
	return { method: "POST", headers: { "Content-Type": "application/" + type }, body };
}

function requestText(values) {
	const path = "/auth/" + shown, { method = "GET", headers, body = "" } = compose(shown, values);
	const lines = Object.entries(headers).map((header) => header.join(": "));
	const curl = ["curl -i " + quote(location.origin + path), ...lines.map((line) => "-H " + quote(line))];
	if (body) curl.push("--data " + quote(body));
	return byId("curl").checked ? curl.join(" \\\n  ") : [method + " " + path, ...lines, "", body].join("\n").trim();
}

// explain says what each line of a payload means.
function explain({ sub, iat, exp, pwd }) {
	const was = claimsOf(token).sub;
	const user = sub === was ? sub + " (type " + (sub > 1 ? 1 : 2) + ")" : (was ? was + " → " : "") + sub;
	const timeStyle = exp - iat < 3600 ? "medium" : "short"; // seconds?
	const time = (date) => isNaN(date) ? "no date" : date.toLocaleTimeString([], { timeStyle });
	putItems("notes", pwd ? [["sub", "user " + user], ["iat", "made " + time(dateOf(iat))],
		["exp", "ends " + time(dateOf(exp))], ["pwd", "mark of hash: a new password voids it"]] : []);
}

function draw() {
	const { values, answer = "", look = "", marks = "", back } = exchanges[shown] ?? {};
	const jwt = values?.token ?? token, parts = sent.value.split(".");
	const mask = values?.password && !byId("reveal").checked && { password: "***" };

	// The way: what there is, where the step has led, what travels, and what the server does.
	byId("way").className = shown ? "" : "start";
	const sentence = reached[shown + " " + marks] ?? "";
	const stations = { Password: true, Hash: users.size || token, Token: sent.value, Key: true };
	for (const name in stations) {
		const here = sentence.startsWith(name);
		const className = (stations[name] ? "lit " : "") + (here ? "here" : "");
		Object.assign(byId("at-" + name), { className, ariaCurrent: here ? "step" : null });
	}
	put("sentence", sentence, look);
	putItems("trips", shown ? [["", trips[shown]], ["from " + look, back]]
		: [["", trips.signup], ["", trips.login + " again"], ["from", "a token comes back"], ["", trips.me]]);
	putItems("checks", (checks[shown] ?? []).map(([text, passed, failed], i) => {
		const mark = marks[i] ?? "–";
		const end = { "✓": passed, "✗": failed, "–": marks && "not reached", "?": "the server doesn't say" }[mark];
		const line = mark + " " + text.replace("#", claimsOf(jwt).sub ?? "?") + (end && ": " + end);
		return [{ "✓": "good", "✗": "bad" }[mark] ?? "", line];
	}));

	// The steps and the wire.
	for (const button of all("h2 button")) {
		const { status, look = "" } = exchanges[button.form.id];
		const textContent = status ? (look === "good" ? "✓ " : "✗ ") + status : "";
		const ariaLabel = textContent + ": show again", onclick = () => show(button.form.id);
		Object.assign(button, { textContent, className: look, ariaLabel, onclick });
	}
	putWire("request", values ? requestText({ ...values, ...mask }) : "", jwt);
	putWire("answer", answer, jwt);
	put("mask", mask ? "*** hides the password on this screen." : "");

	// The token.
	sent.defaultValue = sent.value; // Safari resets the field to this after Back
	partNames.forEach((name, i) => byId(name).replaceChildren(paint(parts[i] ?? "", i)));
	put("header-json", format(decode(parts[0]), 1));
	if (encode(format(claims.value)) !== parts[1]) claims.value = format(decode(parts[1]), 1);
	claims.className = sent.value === token && token ? "given" : "";
	explain(claimsOf(sent.value));
	const what = changed(sent.value), owner = users.get(claimsOf(token).sub);
	put("seal", !parts[2] || /signature|token/.test(what) ? ""
		: what ? "fits the old " + what.slice(4) + ". Only the key makes a new one."
			: "made of header and payload, with the server's key.", what && "bad");
	put("whose", owner ? "This is " + owner + "'s token." : "");
	tick();
}

function tick() {
	const left = secondsLeft(sent.value), digits = [left / 3600, left / 60 % 60, left % 60]
		.map((n) => String(Math.floor(n)).padStart(2, "0")).join(":").replace(/^(00:)?0?/, "");
	put("age", left > 0 ? digits + " left" : left <= 0 ? "expired" : "", left > 0 ? "" : "bad");
}

function show(step) {
	const { verdict, look } = exchanges[shown = step];
	put("verdict", verdict, look);
	draw();
}

const valuesOf = (step) => Object.fromEntries(new FormData(byId(step)));

// edited puts the coming request on the stage. The last answer was one to another request.
function edited(step, verdict = "Not sent yet.") {
	edits[step]++;
	if (exchanges[step].pending) return draw();
	exchanges[step] = { values: valuesOf(step), verdict, back: "not sent yet" };
	if (shown || step === "me") show(step);
}

// setToken takes a token as people paste it: with Bearer, in quotes, in several lines.
function setToken(text) {
	sent.value = text.replace(/[^!-~]|["']/g, "").replace(/^(Authorization:)?Bearer/i, "");
	clearFault(sent);
	const what = changed(sent.value);
	const half = what === "the payload" && !parse(claims.value) ? "It is no JSON now. " : "";
	edited("me", what ? "Not sent yet. You changed " + what + ". " + half + "Now ask who you are."
		: token && "Restored: the token is as the server signed it. Ask who you are.");
}

function showFault(form, { loc, msg }) {
	const name = [loc].flat().at(-1), input = form.elements[name], id = form.id + "-" + name;
	if (!input || typeof msg !== "string") return msg;
	const line = byId(id) ?? create("span", { id, className: "bad" });
	line.append(input.labels[0].textContent + msg.replace(/^(String|Value) /, "") + ". ");
	form.querySelector("p").append(line);
	input.setAttribute("aria-describedby", id);
	input.ariaInvalid = "true";
}

function clearFault(input) {
	input.ariaInvalid = null;
	byId(input.form.id + "-" + input.name)?.remove();
}

// The server doesn't say why it refuses a token. But this page knows which token it was given.
function whyRefused(jwt) {
	const what = changed(jwt), change = token && "You changed " + (what || "nothing") + ". ", { sub } = claimsOf(jwt);
	if (!jwt) return { note: "No token was sent." };
	if (/header|token/.test(what)) {
		return { note: change + "The server takes three parts only, and its own header." };
	}
	if (what && !what.endsWith("and signature")) {
		tried = sub !== claimsOf(token).sub && !users.has(sub);
		const control = tried ? "Is it because there is no user " + sub + "? Test it: sign up anna."
			: sub === claimsOf(token).sub ? "" : users.get(sub) + " is user " + sub + ", and it is refused all the same.";
		return { marks: "✗––", note: change + "The signature no longer fits. " + control };
	}
	if (secondsLeft(jwt) <= 0) return { marks: "✓✗–", note: (what && change) + "The token has expired. Log in again." };
	return { marks: "???", note: change + (what ? "No user or no key fits it."
		: "The user was changed, disabled or removed, or the server has another key.") };
}

// conclude tells what an answer means. It fills in no form that was edited meanwhile.
function conclude(form, { values, edits: before }, { ok, status, headers }, answer) {
	const { user_id, access_token, username, detail } = answer, step = form.id, marks = "✓✓✓";
	const fill = (step, name, value) => {
		if (edits[step] === before[step]) clearFault(Object.assign(byId(step).elements[name], { value }));
	};
	if (ok && step === "signup" && user_id > 0) {
		users.set(String(user_id), values.username);
		for (const name of ["username", "password"]) fill("login", name, values[name]);
		for (const other of ["login", "me"]) if (!exchanges[other].pending) exchanges[other] = {}; // of another user
		const note = "User " + user_id + " is in users.json, on the server. Now "
			+ (tried ? "ask again, with sub " + user_id + "." : "log in.");
		return { marks, brings: "user " + user_id, note };
	}
	if (ok && step === "login" && /^[\w-]+(\.[\w-]+){2}$/.test(access_token)) {
		token = String(access_token);
		users.set(claimsOf(token).sub, values.username);
		exchanges.me = {};
		fill("me", "token", token);
		return { marks, brings: "a token", note: "The password fits the hash, so you get a token. Ask who you are." };
	}
	if (ok && step === "me" && typeof username === "string") {
		const note = "You are " + username + ". Now try to be another user: change the marked number.";
		return { marks, brings: username, note };
	}
	if (status === 401 && step === "me") return whyRefused(values.token);

	if (status === 401) return { marks: "??–", note: "You get no " + (token && "new ") + "token." };
	if (/exists/.test(detail)) {
		const free = values.username.replace(/\d*$/, (n) => Number(n || 1) + 1);
		fill("signup", "username", free);
		const note = values.username + " is taken. Log in, or sign up " + free + ": this page typed that in.";
		return { marks: "✓✗–", note, status: "" };
	}

	// What the server says, and what to do.
	const said = [detail].flat().map((fault) => fault?.msg ? showFault(form, fault) : fault)
		.filter((text) => typeof text === "string");
	const wait = headers.get("Retry-After"), faults = form.querySelector("[aria-invalid]");
	return { said, note: wait ? "Try again in " + wait + " s." : faults ? "Correct the marked fields." : "" };
}

async function send(event) {
	event.preventDefault();
	const form = event.target, step = form.id, values = valuesOf(step);
	if (exchanges[step].pending) return; // a double click
	for (const input of form.elements) clearFault(input);
	const focused = document.activeElement;
	const exchange = { values, edits: { ...edits }, pending: true, verdict: "Sending…", back: "…" };
	exchanges[step] = exchange;
	show(step);
	const request = { ...compose(step, values), signal: AbortSignal.timeout(70_000) }; // the server ends in 60 s
	const response = await fetch("/auth/" + step, request).catch(() => null);
	const text = await response?.text().catch(() => null);
	if (exchanges[step] !== exchange) return; // forgotten
	const stale = exchange.edits[step] !== edits[step];
	const verdict = "No answer. Is the server running?";
	Object.assign(exchange, { pending: false, look: "bad", verdict, back: "no answer" });
	if (text != null) {
		const { status, statusText, headers } = response;
		const lines = ["WWW-Authenticate", "Retry-After"]
			.flatMap((name) => headers.has(name) ? name + ": " + headers.get(name) : []);
		clock = Date.parse(headers.get("Date")) - Date.now();
		exchange.answer = [status + " " + statusText, ...lines, "", text].join("\n");
		const defaults = { status, marks: "–––", brings: "refused", said: [] };
		Object.assign(exchange, defaults, conclude(form, exchange, response, Object(parse(text))));
		const { marks, brings, said, note } = exchange;
		exchange.back = status + ": " + brings;
		exchange.verdict = ["Server: " + status, ...said].join(". ") + ". " + (note && "This page: " + note);
		if (marks === "✓✓✓") exchange.look = "good";
	}
	if (stale) Object.assign(exchange, { status: "", look: "", verdict: exchange.verdict + " You have edited since." });
	show(step);
	if (!stale && document.activeElement === focused) form.querySelector("[aria-invalid]")?.focus();
}

byId("steps").onsubmit = send;
byId("steps").oninput = ({ target }) => {
	clearFault(target);
	if (target === sent) setToken(sent.value);
	else edited(target.form.id);
};
claims.oninput = () => {
	const [header, , signature = ""] = sent.value.split(".");
	setToken([header, encode(format(claims.value)), signature].join("."));
};
byId("restore").onclick = () => token ? setToken(token) : put("verdict", noToken);
byId("forget").onclick = () => {
	put("verdict", sent.value ? "Forgotten here. A copy stays good until exp." : noToken);
	token = shown = sent.value = "";
	[exchanges.login, exchanges.me] = [{}, {}];
	clearFault(sent);
	draw();
};

// What is copied has the true password, also if the screen masks it. navigator.clipboard needs HTTPS.
byId("copy").onclick = () => {
	getSelection().selectAllChildren(byId("request"));
	addEventListener("copy", (event) => {
		event.clipboardData.setData("text/plain", requestText(exchanges[shown].values));
		event.preventDefault();
	}, { once: true });
	document.execCommand("copy");
};
byId("curl").onchange = draw;
byId("reveal").onchange = onpageshow = () => { // Back restores the check mark
	for (const input of all("[name=password]")) input.type = byId("reveal").checked ? "text" : "password";
	draw();
};
setInterval(tick, 200);
</script>
`

// openapiDocument describes the service to programs: Swagger UI, Postman, code generators.
const openapiDocument = `{
	"openapi": "3.1.0",
	"info": {
		"title": "authflow", "version": "1.0.0"
	},
	"paths": {
		"/auth/signup": {"post": {
			"summary": "Create a user",
			"requestBody": {"required": true, "content": {"application/json": {
				"schema": {
					"type": "object", "required": ["username", "email"],
					"anyOf": [{"required": ["password"]}, {"required": ["hashed_password"]}],
					"description": "hashed_password is the lesson's name for it.",
					"properties": {
						"username": {
							"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9._@+-]+$",
							"description": "Enrico and enrico are the same name."
						},
						"email": {"type": "string", "maxLength": 254},
						"password": {"$ref": "#/components/schemas/Password"},
						"hashed_password": {"$ref": "#/components/schemas/Password"}
					}
				}
			}}},
			"responses": {
				"201": {"description": "Created", "content": {"application/json": {"schema": {
					"type": "object", "required": ["message", "user_id"], "properties": {
						"message": {"const": "User created"}, "user_id": {"type": "integer"}
					}
				}}}},
				"422": {"$ref": "#/components/responses/Invalid"}, "default": {"$ref": "#/components/responses/Error"}
			}
		}},
		"/auth/login": {"post": {
			"summary": "Log in",
			"description": "OAuth 2's password grant, for teaching. RFC 9700 §2.4 forbids it for new systems.",
			"requestBody": {"required": true, "content": {"application/x-www-form-urlencoded": {"schema": {
				"type": "object",
				"required": ["username", "password"], "properties": {
					"username": {"type": "string", "minLength": 1},
					"password": {"type": "string", "minLength": 1},
					"grant_type": {"enum": ["password", ""]}
				}
			}}}},
			"responses": {
				"200": {"description": "Logged in", "content": {"application/json": {"schema": {
					"type": "object", "required": ["message", "user_id", "access_token", "token_type", "expires_in"],
					"properties": {
						"message": {"const": "Login successful"}, "user_id": {"type": "integer"},
						"access_token": {"type": "string"}, "token_type": {"const": "bearer"},
						"expires_in": {"type": "integer"}
					}
				}}}},
				"422": {"$ref": "#/components/responses/Invalid"}, "default": {"$ref": "#/components/responses/Error"}
			}
		}},
		"/auth/me": {"get": {
			"summary": "Show the user",
			"description": "A token ends early if its user is disabled, removed, renamed or given another password.",
			"security": [{"OAuth2Password": []}],
			"responses": {
				"200": {"description": "The user", "content": {"application/json": {"schema": {
					"type": "object", "required": ["id", "username", "email", "is_active"], "properties": {
						"id": {"type": "integer"}, "username": {"type": "string"}, "email": {"type": "string"},
						"is_active": {"type": "boolean"}
					}
				}}}},
				"default": {"$ref": "#/components/responses/Error"}
			}
		}},
		"/healthz": {"get": {
			"summary": "Health check",
			"responses": {"200": {"description": "It runs", "content": {"application/json": {"schema": {
				"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}
			}}}}}
		}}
	},
	"components": {
		"securitySchemes": {"OAuth2Password": {
			"type": "oauth2", "flows": {"password": {"tokenUrl": "/auth/login", "scopes": {}}}
		}},
		"responses": {
			"Invalid": {"description": "All faults at once", "content": {"application/json": {"schema": {
				"type": "object", "required": ["detail"], "properties": {
					"detail": {"type": "array", "items": {
						"type": "object", "required": ["type", "loc", "msg"], "properties": {
							"type": {"type": "string"}, "msg": {"type": "string"},
							"loc": {"type": "array", "items": {"type": ["string", "integer"]}}
						}
					}},
					"error": {"enum": ["invalid_request", "unsupported_grant_type"]}
				}
			}}}},
			"Error": {
				"description": "400 name taken or body broken off, 401 wrong log-in or token, 403 cross-origin, 413 over 64 KiB, 415 wrong Content-Type, 429 too many failures, 503 busy",
				"headers": {
					"WWW-Authenticate": {"description": "At 401", "schema": {"type": "string"}},
					"Retry-After": {"description": "Seconds, at 429 and 503", "schema": {"type": "integer"}}
				},
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
				"error": {"const": "invalid_grant"}
			}}
		}
	}
}
`
