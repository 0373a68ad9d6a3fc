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
// plain text. authflow -h explains the flags.
//
// Read main.go, auth.go and store.go in this order, each from its top down to the line "What
// protects the flow". That is the whole flow, and what stands below that line can wait.
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
// mux.Handle wants a value that has a method ServeHTTP, and s.signup is only a function. So
// auth.go has a type of functions, apiHandler, with such a method, which calls the function.
// apiHandler(s.signup) converts s.signup to that type, as float64(1) converts a number. Nothing
// is called yet.
func routes(s *server) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("POST /auth/signup", apiHandler(s.signup))
	mux.Handle("POST /auth/login", apiHandler(s.login))
	mux.Handle("GET /auth/me", s.requireUser(s.me)) // returns an apiHandler already
	mux.Handle("GET /healthz", apiHandler(healthz))
	mux.HandleFunc("GET /openapi.json", openapi) // these two return no error
	mux.HandleFunc("GET /docs", docs)
	mux.Handle("GET /{$}", http.RedirectHandler("/docs", http.StatusTemporaryRedirect)) // {$}: the end
	mux.Handle("/", noRoute(mux))                                                       // 404, or 405
	return mux
}

// newHandler returns the whole service. Each of these functions wraps the next one, as middleware
// does in FastAPI: a request passes MaxBytesHandler and logRequests first, and the routes last.
func newHandler(s *server, origins []string, log *slog.Logger) http.Handler {
	h := logRequests(log,
		answerPanics(
			setHeaders(
				allowOrigins(origins,
					refuseOtherOrigins(origins,
						routes(s))))))
	return http.MaxBytesHandler(h, maxBody) // a handler that reads more of a body gets an error
}

// ---- What protects the flow ----
//
// First come the five functions of newHandler, in their order; then the other routes, and the
// program.
//
// Each of the five gets the next handler, and returns a handler that calls it, or answers the
// request itself. What is outside the inner function runs once, at the start.

// logRequests gives each request a number and writes a line about it into the log. Query, headers
// and body are left out: they may hold secrets.
func logRequests(log *slog.Logger, next http.Handler) http.Handler {
	var requests atomic.Int64 // a number that many goroutines may change at the same time
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		numbered := log.With("req", requests.Add(1)) // adds req=1, req=2, … to each line
		rec := &recorder{w, 0}

		// Deferred, this line is written at the end, also if the handler panics.
		defer func() {
			numbered.Info("request",
				"method", truncate(r.Method), "path", truncate(r.URL.EscapedPath()),
				"status", rec.status, "took", time.Since(start), "addr", r.RemoteAddr)
		}()
		next.ServeHTTP(rec, withLogger(r, numbered)) // see logger, in auth.go
	})
}

// truncate shortens a client's text for the log.
func truncate(s string) string { return s[:min(len(s), 200)] }

// A recorder passes an answer on, and remembers its status. The field without a name is embedded:
// the recorder has all its methods, as if it inherited them, and defines two of them itself.
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

// answerPanics answers 500 if a handler panics. That is a bug, and the log shows where it is.
func answerPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			cause := recover() // like except: ends the panic, and returns its cause, or nil
			if cause == nil {
				return
			}
			logPanic(logger(r.Context()), cause)

			// If the answer has begun, it is too late for a 500. This panic is net/http's way to
			// cut the connection, so the client sees that the answer is not whole.
			if w.(*recorder).status != 0 { // w is the recorder of logRequests
				panic(http.ErrAbortHandler)
			}
			writeError(w, r, errors.New("see the panic above"))
		}()
		next.ServeHTTP(w, r)
	})
}

func logPanic(log *slog.Logger, cause any) {
	log.Error("a handler panicked", "cause", cause)
	for line := range strings.Lines(string(debug.Stack())) {
		log.Error("stack", "line", strings.TrimSpace(line))
	}
}

// setHeaders tells browsers how to treat our answers.
func setHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff") // believe our Content-Type
		w.Header().Set("Cache-Control", "no-store")         // keep no tokens and no users

		// Run no code of an answer, and show no answer in a frame of another page.
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

// allowOrigins lets pages of other origins use the API. An origin is scheme, host and port of a
// page: http://localhost:5173. A browser hides our answer from the script of such a page, unless
// the answer names the page's origin in Access-Control-Allow-Origin. (These rules are called
// CORS.)
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

		// Before some requests, such as a POST with JSON, the browser asks whether the page may
		// send them. This question is a preflight. It has the method OPTIONS, and these headers
		// answer it.
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
// sent and carried out. So any page that you open could try passwords here from your browser,
// even if this service listens only on your own machine. (Such attacks are called CSRF.)
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
// method. (The mux would do so too, but not in JSON.)
func noRoute(mux *http.ServeMux) apiHandler {
	return func(w http.ResponseWriter, r *http.Request) error {
		// Which methods has this path? mux.Handler tells the route of a request, and doesn't call
		// it. "/" is the route of noRoute itself.
		var allowed []string
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			other := *r // a copy of the request
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

// docs answers with the try-it page.
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
	// A context tells others when to stop. This one does so at Ctrl-C, or at SIGTERM. (The second
	// result would end that. We don't need it.)
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr)) // tests call run with other values
}

// run is the whole program. It serves until ctx is done, and returns the exit status: 0 after a
// signal or -h, 1 if it can't serve, 2 for wrong usage.
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

// A config is what the flags and the environment say.
type config struct {
	addr, users     string
	cost            int
	tokenTTL        time.Duration
	origins         []string
	tlsCert, tlsKey string
	verbose         bool
	secret          string // AUTH_SECRET; "" if it is not set
}

// configure reads flags and environment. It returns flag.ErrHelp after it has answered -h.
func configure(args []string, getenv func(string) string, stderr io.Writer) (config, error) {
	c := config{secret: getenv("AUTH_SECRET")}
	flags := c.newFlags()
	flags.SetOutput(io.Discard) // Parse would print errors and help. We do that ourselves.
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(stderr)
		fmt.Fprint(stderr, "Usage: [AUTH_SECRET=…] authflow [flags]\n\n"+
			"AUTH_SECRET signs the tokens. It has at least 32 bytes. If it is not set, tokens end "+
			"with the process.\n\n")
		flags.PrintDefaults()
	}
	if err != nil {
		return c, err
	}
	return c, c.check(flags.Args())
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

// addOrigin is called with the value of each -allow-origin.
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

// check returns what is wrong with the configuration. It gets the arguments that are no flags.
func (c *config) check(arguments []string) error {
	_, port, _ := net.SplitHostPort(c.addr)
	switch {
	case len(arguments) > 0:
		return fmt.Errorf("unexpected argument %q: there are only flags", arguments[0])
	case port == "": // "" and ":" would mean all addresses
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

// serve runs the service until ctx is done.
func serve(ctx context.Context, c config, stderr io.Writer) error {
	log := newLogger(stderr, c.verbose)

	// GOMAXPROCS is how many goroutines Go runs at the same time: one for each processor. bcrypt
	// may take all of them, and then other requests would wait. So allow one more: beside 32
	// log-ins, 99 of 100 requests without bcrypt take less than 4 ms, and not 23 to 53.
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
	s := newServer(st, signingKey(c), c.tokenTTL, c.cost)
	srv := newHTTPServer(newHandler(s, c.origins, log), log)
	return serveUntil(ctx, srv, listener, log)
}

// newLogger returns a logger. With -v, it writes the lines of level Debug too.
func newLogger(stderr io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
}

// listen listens on -addr. If there is a certificate, the listener speaks TLS.
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

// signingKey returns AUTH_SECRET, or a random key if that is not set.
func signingKey(c config) []byte {
	if c.secret != "" {
		return []byte(c.secret)
	}
	key := make([]byte, minSecret)
	rand.Read(key) // fills key; can't fail
	return key
}

// logAddresses logs where the service can be reached.
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
	if !ip.IsUnspecified() { // it is an address of its own
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
	case err := <-done: // it could not serve
		return err
	case <-ctx.Done(): // a signal came
	}

	log.Info("stopping")
	limit, cancel := context.WithTimeout(context.Background(), maxStop) // ctx is done already
	defer cancel()
	if err := srv.Shutdown(limit); err != nil {
		log.Warn("stopped before all requests were answered", "err", err)
	}
	return nil
}

// newHTTPServer limits the time and the headers of each request.
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
<title>authflow: from password to token</title><link rel="icon" href="data:,">
<style>
:root {
  color-scheme: light dark; scroll-padding-top: 7rem;
  --quiet: light-dark(#565d66, #a9afb7); --accent: light-dark(#2b5f8f, #93c0ea);
  --bad: light-dark(#a5332b, #f3a59c);
  /* 18 px at 1280x720 and at 1366x650, more on a larger screen */
  font: clamp(100%, min(1.41vw, 2.78vh), 250%)/1.3 system-ui, sans-serif;
}
* { box-sizing: border-box; min-width: 0; margin: 0; padding: 0; border-radius: .3rem; }
body { background: light-dark(#efede8, #2c2f34); overflow-wrap: anywhere; }
main, .grid, #token { display: grid; gap: .5rem; }
main { padding: .5rem; }
form, section, #verdict { padding: .4rem .6rem; background: Canvas; }
h1, h2, h3 { font-size: 1rem; }
h2, .row { display: flex; flex-wrap: wrap; gap: 0 .6rem; align-items: center; justify-content: space-between; }
#verdict { z-index: 1; border: 2px solid; }
.hint, section p, #notes, ::placeholder { color: var(--quiet); }
.good { color: light-dark(#2a6945, #8fd0aa); }
.bad { color: var(--bad); }

/* The steps. A fault takes the place of the hint. Its mark and the focus differ in shape, too. */
form { display: grid; grid: auto / auto 1fr auto; gap: .25rem .5rem; align-content: start; align-items: center; }
form p { font-size: .9rem; align-self: start; }
form label { display: contents; }
h2, form p { grid-column: 1 / 4; }
h2 { min-height: 1.7rem; }
h2 :empty, mark:empty, p:has(.bad) .hint { display: none; }
input { grid-column: span 2; }
label:has(+ button) input { grid-column: auto; }
input, textarea, button { padding: .1rem .5rem; border: 1px solid var(--quiet); font: inherit; color: inherit;
  background: Canvas; }
[aria-invalid] { border: solid var(--bad); border-width: 1px 1px 1px .5rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 1px; }

/* The picture: four stations. The arrow to each is a step. */
ol { display: grid; align-content: center; counter-reset: step; list-style: none; }
li { position: relative; padding: .3em .6em; border: 2px dashed; color: var(--quiet); background: Canvas; }
li + li { margin-top: 2em; counter-increment: step; }
li + li::before { content: "↓ " counter(step) ". " attr(title); position: absolute; bottom: calc(100% + .3em); }
.lit { border: 2px solid var(--accent); color: var(--accent); }
button:not([type]), .here, mark { background: var(--accent); color: Canvas; forced-color-adjust: none; }
.here::before { color: var(--accent); }

/* The wire and the token: only tokens break within words */
pre, textarea { font: 1rem/1.25 ui-monospace, Consolas, monospace; white-space: pre-wrap; }
.start ~ :is(#wire, #token) { display: none; }
.header, .payload, .signature { word-break: break-all; }
.header { color: light-dark(#0a6868, #71d0cb); font-weight: bold; }
.payload { color: light-dark(#7a3b90, #d6a8e8); font-style: italic; }
.signature { color: light-dark(#855700, #e4bc6c); font-weight: bold; text-decoration: underline; }
mark { background: var(--bad); }
#claims { display: flex; flex-wrap: wrap; gap: 5px 0; }
textarea { flex: 0 0 24ch; padding: 0 .3rem; white-space: pre; resize: none; }
#notes { flex: 1 7rem; padding: 1px 1ch; font: .9rem/1.25rem system-ui; }

@media (height >= 30rem) { #verdict { position: sticky; top: 0; } } /* else it hides fields */
@media (width < 44rem) { #claims { display: block; textarea { width: 100%; } } }
@media (width >= 44rem) { .grid { grid-template-columns: 1fr 1fr; } }
@media (width >= 62rem) {
  main { grid: 3.7rem auto minmax(0, 1fr) auto / 20rem 1fr; height: 100vh; min-height: 35.9rem; }
  main > * { grid-column: 2; }
  header { grid-area: 1 / 1; }
  #steps { grid: 1.68fr 1.13fr 1fr / 1fr; grid-area: 2 / 1 / 5; }
  form, form p, pre, #verdict { overflow: auto; }
  form p { max-height: 4.7rem; }
  .start { grid-row: 2 / 5; font-size: 1.9rem; }
  ol:not(.start) {
    grid: auto / repeat(4, auto); gap: 7.5rem; text-align: center;
    li { margin: 0; padding: .1rem .5rem; }
    li + li::before { content: counter(step) ". " attr(title) " →"; right: 100%; bottom: .1rem; width: 7.5rem;
      font-size: .9rem; }
    span { display: none; }
  }
  #wire { grid: minmax(0, 1fr) / 4fr 5fr; }
  #wire section { display: grid; grid-template-rows: 1.7rem minmax(0, 1fr); }
  #token { grid: auto / 11rem 1fr 11rem; }
  #header, #payload, #signature { height: 3.8rem; }
  #claims { height: 5.2rem; overflow: clip; overflow-clip-margin: 4px; }
}
</style>
<main>
<header class="row"><h1>authflow: from password to token</h1>
  <a href="/openapi.json">openapi.json</a><label><input id="reveal" type="checkbox"> Show passwords</label></header>
<p id="verdict" role="status">Three clicks: Sign up, Log in, Who am I? Each shows what is sent.
  <noscript>This page needs JavaScript. Without it, use curl.</noscript></p>
<ol class="start">
  <li><b>Password</b> <span>You type it. It is sent, not stored.</span></li>
  <li title="Sign up"><b>Hash</b> <span>Stored instead. Nobody can turn it back.</span></li>
  <li title="Log in"><b>Token</b> <span>The server signs who you are.</span></li>
  <li title="Who am I?"><b>You</b> <span>Whoever holds the token.</span></li>
</ol>
<div id="steps" class="grid" spellcheck="false">
<form id="signup" method="post" autocapitalize="none">
  <h2>1. Sign up <button type="button"></button></h2>
  <label>Username <input id="signup-username" name="username" autocomplete="username" value="enrico"></label>
  <label>Email <input id="signup-email" name="email" autocomplete="email" value="enrico@example.com"></label>
  <label>Password <input id="signup-password" name="password" type="password" autocomplete="new-password"
    value="plaintextpassword"></label>
  <button>Sign up</button>
  <p><span class="hint">Sends JSON.</span></p></form>
<form id="login" method="post" autocapitalize="none">
  <h2>2. Log in <button type="button"></button></h2>
  <label>Username <input id="login-username" name="username" autocomplete="username" value="enrico"></label>
  <label>Password <input id="login-password" name="password" type="password" autocomplete="current-password"
    value="plaintextpassword"></label>
  <button>Log in</button>
  <p><span class="hint">Sends a form, as OAuth 2 asks.</span></p></form>
<form id="me" method="post" autocapitalize="none">
  <h2>3. Who am I? <button type="button"></button></h2>
  <label>Token <input id="me-token" name="token" autocomplete="off"></label>
  <button>Who am I?</button>
  <p><span class="hint">Sends the token, no password.</span></p>
  <p class="row"><button id="restore" type="button">Restore</button>
    <button id="forget" type="button">Forget</button></p></form>
</div>
<div id="wire" class="grid">
  <section><div class="row"><h3>Request</h3>
    <label><input id="curl" type="checkbox"> as curl</label> <button id="copy" type="button">Copy</button></div>
    <pre id="request" tabindex="0"></pre></section>
  <section><h3>Answer</h3><pre id="answer" tabindex="0"></pre></section>
</div>
<div id="token">
  <section><h3 class="header">Header</h3><pre id="header"></pre><pre id="header-json"></pre></section>
  <section><div class="row"><h3 class="payload">Payload</h3><span id="age"></span></div>
    <pre id="payload"></pre>
    <div id="claims"><textarea id="payload-json" rows="4" spellcheck="false" placeholder="from step 2"
      aria-label="Payload, decoded"></textarea><pre id="notes"></pre></div></section>
  <section><h3 class="signature">Signature</h3><pre id="signature"></pre>
    <p>made of the other two with a key that only the server has.</p></section>
</div>
</main>
<script>
"use strict";
const byId = (id) => document.getElementById(id), all = (selector) => document.querySelectorAll(selector);
const create = (name, properties) => Object.assign(document.createElement(name), properties);
const sent = byId("me-token"), claims = byId("payload-json");
const steps = ["signup", "login", "me"], partNames = ["header", "payload", "signature"];
const exchanges = { signup: {}, login: {}, me: {} }; // what each step sent last, and the answer
let edits = 0; // of all forms
let shown = ""; // the step on the stage
let token = ""; // as it was given
let clock = NaN; // how far the server's is ahead, in ms: only an answer tells

// As textContent, any input stays mere text.
const put = (id, textContent, className = "") => Object.assign(byId(id), { textContent, className });

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

const claimsOf = (jwt) => parse(decode(jwt.split(".")[1]));

// dateOf takes seconds since 1970. Anything else becomes an invalid date: NaN.
const dateOf = (seconds) => new Date(typeof seconds === "number" ? seconds * 1000 : NaN);
const secondsLeft = (jwt) => dateOf(claimsOf(jwt)?.exp) / 1000 - Math.floor((Date.now() + clock) / 1000);

function changed(jwt) {
  const parts = jwt.split("."), given = token.split(".");
  if (!token || jwt === token) return "";
  return "the " + (parts.length === 3 ? partNames.filter((_, i) => parts[i] !== given[i]).join(" and the ") : "token");
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

function explain(line) {
  const [, name] = /"(sub|iat|exp|pwd)" *:/.exec(line) ?? [], date = dateOf(claimsOf(sent.value)?.[name]);
  const isToday = date.toDateString() === new Date(Date.now() + clock).toDateString();
  const time = isNaN(date) ? "no date" : isToday ? date.toLocaleTimeString() : date.toLocaleDateString();
  return { sub: "the user's id", iat: "issued: " + time, exp: "expires: " + time, pwd: "not the password" }[name];
}

function draw() {
  const parts = sent.value.split("."), good = (step) => exchanges[step].look === "good";
  const reached = good("me") ? 3 : token ? 2 : good("signup") ? 1 : 0;
  all("li").forEach((li, i) => {
    const look = steps[i - 1] === shown ? exchanges[shown].look : "";
    li.className = i < reached ? "lit" : i === reached ? "lit here" : look;
  });
  all("h2 button").forEach((button, i) => {
    const { status, look = "" } = exchanges[steps[i]], mark = look === "good" ? "✓ " : "✗ ";
    Object.assign(button, { textContent: status && mark + status, className: look, title: "Show again" });
  });
  const { values, answer = "" } = exchanges[shown] ?? {}, jwt = values?.token ?? token;
  const mask = values?.password && !byId("reveal").checked && { password: "***" };
  putWire("request", values ? requestText({ ...values, ...mask }) : "", jwt);
  putWire("answer", answer, jwt);
  if (shown || sent.value) all("ol")[0].className = "";
  partNames.forEach((name, i) => byId(name).replaceChildren(paint(parts[i] ?? "", i)));
  put("header-json", format(decode(parts[0]), 1));
  if (encode(format(claims.value)) !== parts[1]) claims.value = format(decode(parts[1]), 1);
  put("notes", claims.value.split("\n").map(explain).join("\n"));
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

function edited(step, verdict) {
  const exchange = exchanges[step];
  edits++;
  exchange.status = exchange.look = "";
  if (!exchange.pending && (verdict || shown === step)) put("verdict", verdict || "Not sent yet.");
  draw();
}

// setToken takes a token as people paste it: with Bearer, in quotes, in several lines.
function setToken(text, verdict) {
  sent.value = text.replace(/["'\s]/g, "").replace(/^(Authorization:)?Bearer/i, "");
  clearFault(sent);
  const what = changed(sent.value), half = what === "the payload" && !claimsOf(sent.value) ? ". It is no JSON now" : "";
  const note = what ? "You changed " + what + half + ". It is not sent yet. Now ask who you are."
    : token && "Restored. Ask who you are.";
  edited("me", verdict || note);
}

function showFault(form, { loc, msg }) {
  const input = form.elements[[loc].flat().at(-1)];
  if (!input || typeof msg !== "string") return msg;
  const id = input.id + "-fault", line = byId(id) ?? create("span", { id, className: "bad" });
  line.append(input.labels[0].textContent + msg.replace(/^(String|Value) /, "") + ". ");
  form.querySelector("p").append(line);
  input.setAttribute("aria-describedby", id);
  input.ariaInvalid = "true";
}

function clearFault(input) {
  input.ariaInvalid = null;
  byId(input.id + "-fault")?.remove();
}

// The server doesn't say why it refuses a token. But this page knows which token it was given.
function whyRefused(jwt) {
  const what = changed(jwt), change = token ? "You changed " + (what || "nothing") + ". " : "";
  if (!jwt) return "No token was sent";
  if (what && !what.endsWith("and the signature")) return change + "The signature no longer fits";
  if (secondsLeft(jwt) <= 0) return (what && change) + "It has expired";
  return change + "The signature doesn't fit the server's key, or the user was changed, disabled or removed";
}

const fill = (id, value) => clearFault(Object.assign(byId(id), { value }));

// conclude returns what an answer means. It overwrites nothing that was edited meanwhile.
function conclude(form, exchange, { ok, status }, { user_id, access_token, username, detail }) {
  const { values, stale } = exchange, step = form.id;
  exchange.look = "good";
  if (ok && step === "signup" && user_id > 0) {
    for (const name of ["username", "password"]) stale || fill("login-" + name, values[name]);
    const where = 'Look at its line in users.json, on the server: "$2a$…"';
    return ["User " + user_id + " is stored with a hash, not the password", where, "Now log in"];
  }
  if (ok && step === "login" && /^[\w-]+(\.[\w-]+){2}$/.test(access_token)) {
    token = String(access_token);
    exchanges.me = {};
    stale || fill("me-token", token);
    return ["The password fits the hash: here is a token. Anybody can read it. Ask who you are, or set sub to 2"];
  }
  if (ok && step === "me" && typeof username === "string") {
    return ["You are " + username + ". The signature fits, so the server believes the payload"];
  }
  exchange.look = "bad";
  if (ok) return ["An unexpected answer"];
  if (status === 401 && step === "me") return [whyRefused(values.token)];
  const notes = [detail].flat().map((note) => note?.msg && !stale ? showFault(form, note) : note?.msg ?? note);
  if (form.querySelector("[aria-invalid]")) notes.push("Correct the marked fields");
  if (status === 401) notes.push("You get no new token");
  if (/exists/.test(detail)) {
    const free = values.username.replace(/\d*$/, (n) => Number(n || 1) + 1);
    stale || fill("signup-username", free);
    notes.push("Log in, or sign up again as " + free);
  }
  return notes.filter((note) => typeof note === "string");
}

async function send(event) {
  event.preventDefault();
  const form = event.target, step = form.id, values = Object.fromEntries(new FormData(form));
  if (exchanges[step].pending) return; // a double click
  for (const input of form.elements) clearFault(input);
  if (/[^ -ÿ]/.test(values.token)) {
    showFault(form, { loc: "token", msg: "has odd characters" });
    return edited("me", "Nothing was sent: no header can carry these characters.");
  }
  const started = Date.now(), focused = document.activeElement;
  const exchange = exchanges[step] = { values, edits, pending: true, verdict: "Sending…" };
  show(step);
  const request = { ...compose(step, values), signal: AbortSignal.timeout(70_000) }; // the server ends it within 60 s
  const response = await fetch("/auth/" + step, request).catch(() => null);
  const text = await response?.text().catch(() => null);
  if (exchanges[step] !== exchange) return; // forgotten
  const stale = exchange.edits !== edits;
  Object.assign(exchange, { stale, pending: false, look: "bad", verdict: "No answer. Is the server running?" });
  if (text != null) {
    const { status, statusText, headers } = response, line = (status + " " + statusText).trim();
    const lines = ["Content-Type", "Cache-Control", "WWW-Authenticate", "Retry-After"]
      .flatMap((name) => headers.has(name) ? name + ": " + headers.get(name) : []);
    clock = Date.parse(headers.get("Date")) - Date.now();
    const took = Date.now() - started, notes = conclude(form, exchange, response, Object(parse(text)));
    const verdict = [line + " in " + took + " ms", ...notes].join(". ") + ".";
    Object.assign(exchange, { status, verdict, answer: [line, ...lines, "", text].join("\n") });
  }
  if (stale) {
    exchange.status = exchange.look = "";
    exchange.verdict += " You have edited since.";
  }
  show(step);
  if (!stale && document.activeElement === focused) form.querySelector("[aria-invalid]")?.focus();
}

byId("steps").onsubmit = send;
byId("steps").oninput = ({ target }) => {
  clearFault(target);
  if (target === sent) setToken(sent.value);
  else edited(target.form.id);
};
for (const button of all("h2 button")) button.onclick = () => show(button.form.id);
claims.oninput = () => {
  const [header, , signature = ""] = sent.value.split(".");
  setToken([header, encode(format(claims.value)), signature].join("."));
};
byId("restore").onclick = () => token && setToken(token);
byId("forget").onclick = () => {
  token = shown = "";
  [exchanges.login, exchanges.me] = [{}, {}];
  setToken("", "Forgotten here. A copy stays good until exp.");
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
    "title": "authflow", "version": "1.0.0",
    "description": "Sign up, log in, and ask who you are. Every answer is JSON."
  },
  "servers": [{"url": "/"}],
  "security": [],
  "tags": [{"name": "auth", "description": "Password and token"}],
  "paths": {
    "/auth/signup": {"post": {
      "operationId": "signup", "tags": ["auth"], "summary": "Create a user",
      "description": "If the username is taken, the answer is 400. After a 503 nothing is stored.",
      "requestBody": {"required": true, "content": {"application/json": {"schema": {
        "description": "hashed_password is the lesson's name for password. If both are sent, password counts.",
        "anyOf": [
          {"type": "object", "required": ["username", "email", "password"], "properties": {
            "username": {"$ref": "#/components/schemas/Username"}, "email": {"$ref": "#/components/schemas/Email"},
            "password": {"$ref": "#/components/schemas/Password"}
          }},
          {"type": "object", "required": ["username", "email", "hashed_password"], "properties": {
            "username": {"$ref": "#/components/schemas/Username"}, "email": {"$ref": "#/components/schemas/Email"},
            "hashed_password": {"$ref": "#/components/schemas/Password"}
          }}
        ]
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
          "error": {
            "type": "string", "enum": ["invalid_request", "unsupported_grant_type"],
            "description": "POST /auth/login sends it (RFC 6749 §5.2)."
          }
        }
      }}}},
      "Error": {
        "description": "400 name taken or body broken off, 403 cross-origin, 413 over 64 KiB, 415 wrong Content-Type, 429 too many failures, 503 busy",
        "headers": {"Retry-After": {"description": "Seconds, at 429 and 503", "schema": {"type": "integer"}}},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
      }
    },
    "schemas": {
      "Username": {
        "type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9._@+-]+$",
        "description": "Enrico and enrico are the same name."
      },
      "Email": {
        "type": "string", "maxLength": 254,
        "description": "One address, no display name, no comment. ünï@example.com is valid."
      },
      "Password": {
        "type": "string", "format": "password", "minLength": 8, "maxLength": 72,
        "description": "Plaintext. At most 72 bytes in UTF-8, no control characters."
      },
      "Error": {"type": "object", "required": ["detail"], "properties": {
        "detail": {"type": "string"},
        "error": {"const": "invalid_grant", "description": "POST /auth/login sends it with 401 (RFC 6749 §5.2)."}
      }}
    }
  }
}
`
