// Authflow is a sign-up and log-in service to learn from, with bcrypt, OAuth 2's password form and
// a signed token. These are its three requests:
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
// The users are stored in one JSON file, users.json: passwords as bcrypt hashes, all else in plain
// text. authflow -h explains the flags.
//
// Read this file first: the routes, and what happens to every request. Then read auth.go, which has
// the handlers, and store.go, which keeps the users. How the program starts and stops, in the
// second half of this file, can wait.
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
	"path/filepath"
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

const (
	maxHeader = 16 << 10 // bytes: a token has about 200
	maxLogged = 200      // bytes of a client's text in a log line
	minSecret = 32       // bytes: as long as the digest of HMAC-SHA256 (RFC 7518 §3.2)
	safeCost  = 10       // below it bcrypt is too fast (OWASP Password Storage Cheat Sheet)
	minCost   = 4        // bcrypt's lowest; bcryptHash, in store.go, has both limits too
	maxCost   = 16       // a log-in takes seconds

	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second // enough for 64 KiB at 52 kbit/s
	writeTimeout      = 60 * time.Second // 15 s to wait for bcrypt, 15 s for a save, and the work
	idleTimeout       = 60 * time.Second // between two requests of a connection
	shutdownTimeout   = 10 * time.Second // for requests that have begun
)

// ---- The routes ----

// routes says which handler answers which request. Most handlers, such as s.signup, are functions
// that return an error where FastAPI's raise an HTTPException. apiHandler, in auth.go, is a type of
// such functions. It has a method ServeHTTP, so the mux can call it. apiHandler(s.signup) is
// s.signup as this type.
func routes(s *server) *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("POST /auth/signup", apiHandler(s.signup))
	mux.Handle("POST /auth/login", apiHandler(s.login))
	mux.Handle("GET /auth/me", s.requireUser(s.me)) // an apiHandler too; like Depends(…)
	mux.Handle("GET /healthz", apiHandler(healthz))
	mux.HandleFunc("GET /openapi.json", openapi)
	mux.HandleFunc("GET /docs", docs)
	mux.Handle("GET /{$}", http.RedirectHandler("/docs", http.StatusTemporaryRedirect)) // only /
	mux.Handle("/", noRoute(mux))                                                       // all the rest
	return mux
}

// newHandler returns the whole service. Each of these functions wraps the next one, as middleware
// does in FastAPI: logRequests sees a request first, the routes see it last. They stand below, in
// this order.
func newHandler(s *server, origins []string, log *slog.Logger) http.Handler {
	return logRequests(log,
		answerPanics(
			setHeaders(
				allowOrigins(origins,
					refuseOtherOrigins(origins,
						routes(s))))))
}

// noRoute answers 405 if the path exists, but not with this method. Otherwise it answers 404. (The
// mux would do the same, but not in JSON.)
func noRoute(mux *http.ServeMux) apiHandler {
	return func(w http.ResponseWriter, r *http.Request) error {
		// Ask the mux which pattern it has for this path, with each method. (This calls no
		// handler.) The pattern "/" would be noRoute itself.
		var allowed []string
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} {
			other := *r // a copy of the request
			other.Method = method
			if _, pattern := mux.Handler(&other); pattern != "/" {
				allowed = append(allowed, method)
			}
		}

		// refuse makes an error that is an answer, like HTTPException.
		if allowed == nil {
			return refuse(http.StatusNotFound, "Not Found")
		}
		return refuse(http.StatusMethodNotAllowed, "Method Not Allowed").
			with("Allow", strings.Join(allowed, ", "))
	}
}

// healthz says that the process serves, even if the users file has a fault.
func healthz(w http.ResponseWriter, r *http.Request) error {
	return writeJSON(w, http.StatusOK, healthResponse{"ok"})
}

type healthResponse struct {
	Status string `json:"status"`
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
	"frame-ancestors 'none'",           // no other page shows this one, with its own buttons over it
}, "; ")

// digestOf returns the digest of an element of the page: 'sha256-mUqE…'
func digestOf(element string) string {
	_, text, _ := strings.Cut(docsPage, "<"+element+">")
	text, _, _ = strings.Cut(text, "</"+element+">")
	digest := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'"
}

// ---- What happens to every request ----
//
// Each of these functions gets the next handler, and returns a handler that calls it. The outer
// function runs once, at the start. The inner one runs at each request. (refuse, writeError and
// logger stand in auth.go.)

// logRequests gives each request a number and writes a line about it into the log. Query, headers
// and body are left out: they may hold secrets.
func logRequests(log *slog.Logger, next http.Handler) http.Handler {
	var requests atomic.Int64 // a number that many goroutines may change at the same time
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		numbered := log.With("req", requests.Add(1))               // adds req=1, req=2, … to each line
		rec := &recorder{ResponseWriter: w, status: http.StatusOK} // WriteHeader may change it

		// Deferred, this line is written at the end, also if the handler panics.
		defer func() {
			numbered.Info("request",
				"method", truncate(r.Method), "path", truncate(r.URL.EscapedPath()),
				"status", rec.status, "took", time.Since(start), "addr", r.RemoteAddr)
		}()
		next.ServeHTTP(rec, withLogger(r, numbered))
	})
}

// truncate shortens a client's text for the log.
func truncate(s string) string { return s[:min(len(s), maxLogged)] }

// A recorder passes an answer on. It remembers the status, and whether the answer has begun. It has
// all methods of the ResponseWriter inside it, and replaces two.
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

// answerPanics answers 500 if a handler panics. That is a bug, and the log shows where it is.
func answerPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &recorder{ResponseWriter: w} // one of its own, to know whether the answer has begun
		defer func() {
			if cause := recover(); cause != nil { // nil: nothing has panicked
				answerPanic(rec, r, cause)
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

func answerPanic(rec *recorder, r *http.Request, cause any) {
	err := fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
	if !rec.begun {
		writeError(rec, r, err)
		return
	}

	// The client has got a part of another answer, so we can't send a 500 any more. ErrAbortHandler
	// tells net/http to close the connection and to log nothing. So the client sees that the answer
	// is not whole.
	logger(r.Context()).Error("the answer was cut off", "reason", err)
	panic(http.ErrAbortHandler)
}

// setHeaders protects those who open an answer in a browser.
func setHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The browser must believe our Content-Type. It must not run code that is in an answer, and
		// not show an answer in a frame of another page.
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

		// Browsers and proxies must not keep tokens and users (RFC 6749 §5.1).
		if strings.HasPrefix(r.URL.Path, "/auth/") {
			w.Header().Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	})
}

// allowOrigins lets pages of other origins use the API. An origin is scheme, host and port of a
// page: http://localhost:5173. A script of such a page can send us a request. But the browser gives
// it our answer only if the answer names the origin in Access-Control-Allow-Origin. (The name of
// these rules is CORS.)
func allowOrigins(origins []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(origins) > 0 { // a cache must not give a page the answer for another origin
			w.Header().Set("Vary", "Origin")
		}
		origin := r.Header.Get("Origin")
		if !slices.Contains(origins, origin) {
			next.ServeHTTP(w, r)
			return
		}

		// The page may read the answer, and these two headers.
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate")

		if isPreflight(r) {
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST")
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isPreflight reports whether a browser asks for permission. Before a page of another origin sends
// some requests, such as a POST with JSON, its browser asks with OPTIONS.
func isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Origin") != "" &&
		r.Header.Get("Access-Control-Request-Method") != ""
}

// refuseOtherOrigins refuses what pages of all other origins send. Such a page could use the
// browsers of its visitors to sign up, or to guess passwords, even at an address that only the
// visitor can reach, such as 127.0.0.1. (The name of such attacks is CSRF.)
//
// Browsers say in the headers Sec-Fetch-Site and Origin where a request comes from. GET passes: it
// changes nothing. A request without both headers passes too: it is from curl, or another program.
func refuseOtherOrigins(origins []string, next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	for _, origin := range origins {
		protection.AddTrustedOrigin(origin) // no error: the flag -allow-origin has checked it
	}
	return apiHandler(func(w http.ResponseWriter, r *http.Request) error {
		// Check lets OPTIONS pass, so we look for preflights ourselves. Those of allowed origins
		// don't come here: allowOrigins has answered them.
		if protection.Check(r) != nil || isPreflight(r) {
			return refuse(http.StatusForbidden, "Cross-origin request refused").
				because("-allow-origin does not name " + truncate(r.Header.Get("Origin")))
		}
		next.ServeHTTP(w, r)
		return nil
	})
}

// ---- The program ----

func main() {
	// At Ctrl-C, ctx is done, and serveUntil begins to stop. Then stop gives Ctrl-C its usual
	// meaning back: a second one ends the program at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)

	// In authflow 2>&1 | head -1, head ends after one line of the log. When we write the next one,
	// the system sends us this signal, which would end us too.
	signal.Ignore(syscall.SIGPIPE)

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
	c := config{cost: 12, tokenTTL: time.Hour, secret: getenv("AUTH_SECRET")}
	flags := flag.NewFlagSet("authflow", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // run prints the errors; flags must not print them too

	// -h shows the words in backquotes after the flag: -users file.
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8000", "listen on this `host:port`")
	flags.StringVar(&c.users, "users", "users.json", "store the users in this `file`")
	flags.Func("cost", "bcrypt's `cost` for new passwords, 4 to 16: one more doubles the work "+
		"(default 12)", c.setCost)
	flags.Func("token-ttl", "`time` for which a token is good, in h, m and s (default 1h)",
		c.setTokenTTL)
	flags.Func("allow-origin", "pages of this `origin`, such as http://localhost:5173, "+
		"may call the API; may be repeated", c.addOrigin)

	flags.StringVar(&c.tlsCert, "tls-cert", "",
		"serve HTTPS with the certificate (chain) in this PEM `file`")
	flags.StringVar(&c.tlsKey, "tls-key", "", "and with the private key in this PEM `file`")
	flags.BoolFunc("v", "also log each step of a request, and the reason of each refusal",
		c.setVerbose)

	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		printManual(flags, stderr)
	}
	if err != nil {
		return c, err
	}
	return c, c.check(flags.Args())
}

func printManual(flags *flag.FlagSet, stderr io.Writer) {
	fmt.Fprint(stderr, "Usage: authflow [flags]\n\n")
	flags.SetOutput(stderr)
	flags.PrintDefaults()
	fmt.Fprint(stderr, "\nEnvironment:\n  AUTH_SECRET\n"+
		"    \tsigns the tokens: at least 32 bytes; without it, tokens end with the process\n")
}

func (c *config) setCost(text string) (err error) {
	c.cost, err = strconv.Atoi(text)
	if err != nil || c.cost < minCost || c.cost > maxCost {
		return fmt.Errorf("it must be a whole number from %d to %d", minCost, maxCost)
	}
	return nil
}

func (c *config) setTokenTTL(text string) (err error) {
	c.tokenTTL, err = time.ParseDuration(text)
	if err != nil || c.tokenTTL < time.Second {
		return errors.New("it must be at least 1s, in h, m and s, such as 24h or 1h30m")
	}
	return nil
}

func (c *config) setVerbose(text string) (err error) {
	c.verbose, err = strconv.ParseBool(text)
	if err != nil {
		return errors.New("write -v, or leave it out")
	}
	return nil
}

// originPattern matches an origin as browsers send it, such as http://localhost:5173.
var originPattern = regexp.MustCompile(
	`^[a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:[1-9][0-9]{0,4})?$`)

// defaultPort matches what browsers leave out: http://example.com:80 is http://example.com.
var defaultPort = regexp.MustCompile(`^http://.*:80$|^https://.*:443$`)

func (c *config) addOrigin(origin string) error {
	err := http.NewCrossOriginProtection().AddTrustedOrigin(origin) // can the library use it?
	if err != nil || !originPattern.MatchString(origin) || defaultPort.MatchString(origin) {
		return errors.New("it must be as browsers send it: in lower case, " +
			"without path and default port, such as http://localhost:5173")
	}
	c.origins = append(c.origins, origin)
	return nil
}

// check returns what is wrong with the configuration, and what would be right. It gets the
// arguments that are no flags.
func (c *config) check(arguments []string) error {
	// Check the form, and the port. Whether there is such a host, Listen finds out.
	_, port, err := net.SplitHostPort(c.addr)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}

	switch {
	case len(arguments) > 0:
		return fmt.Errorf("unexpected argument %q: there are only flags", arguments[0])
	case err != nil || port == "":
		return fmt.Errorf("-addr %q must be host:port, such as 127.0.0.1:8000", c.addr)
	case c.users == "":
		return errors.New("-users must name a file")
	case c.tlsCert != "" && c.tlsKey == "", c.tlsCert == "" && c.tlsKey != "":
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

	// At most as many requests hash as there are processors (see newServer). With one thread more,
	// there is always one for a request that doesn't hash, so it doesn't wait.
	runtime.GOMAXPROCS(processors + 1)

	// Listen first: if the port is taken, this ends before it touches the users file.
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		return fmt.Errorf("%w: choose another address with -addr", err)
	}
	defer listener.Close()
	addr := listener.Addr().(*net.TCPAddr)

	st, err := openStore(c.users, c.cost, log)
	if err != nil {
		return err
	}
	listener, err = withTLS(listener, c)
	if err != nil {
		return err
	}

	warnOfRisks(log, c, addr)
	logAddresses(log, c, addr)
	s := newServer(st, signingKey(c), c.tokenTTL)
	return serveUntil(ctx, newHTTPServer(newHandler(s, c.origins, log), log), listener, log)
}

// newLogger returns a logger. With -v, each line names its place in the source: source=auth.go:91.
func newLogger(stderr io.Writer, verbose bool) *slog.Logger {
	if !verbose {
		return slog.New(slog.NewTextHandler(stderr, nil))
	}
	// slog calls this for each value that it writes. The source has a long path: cut that off.
	withoutFolder := func(_ []string, attr slog.Attr) slog.Attr {
		if source, ok := attr.Value.Any().(*slog.Source); ok {
			place := fmt.Sprintf("%s:%d", filepath.Base(source.File), source.Line)
			attr.Value = slog.StringValue(place)
		}
		return attr
	}
	return slog.New(slog.NewTextHandler(stderr,
		&slog.HandlerOptions{Level: slog.LevelDebug, AddSource: true, ReplaceAttr: withoutFolder}))
}

// withTLS returns a listener that speaks TLS, if there is a certificate.
func withTLS(listener net.Listener, c config) (net.Listener, error) {
	if c.tlsCert == "" {
		return listener, nil
	}
	cert, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
	if err != nil {
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
	if c.secret == "" {
		key := make([]byte, minSecret)
		rand.Read(key) // can't fail
		return key
	}
	return []byte(c.secret)
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

// hosts returns the addresses of a listener. If it listens on 0.0.0.0 or ::, these are all
// addresses of this machine.
func hosts(ip net.IP) []string {
	if !ip.IsUnspecified() {
		return []string{ip.String()}
	}
	var all []string
	addrs, _ := net.InterfaceAddrs()
	for _, addr := range addrs {
		ipNet, ok := addr.(*net.IPNet)
		if ok && !ipNet.IP.IsLinkLocalUnicast() { // such as fe80::1: browsers can't open it
			all = append(all, ipNet.IP.String())
		}
	}
	if all == nil { // Android doesn't tell them
		return []string{ip.String()}
	}
	return all
}

// serveUntil serves until ctx is done. Then requests that have begun may finish.
func serveUntil(ctx context.Context, srv *http.Server, listener net.Listener,
	log *slog.Logger) error {
	// done has room for one value. Without it, the goroutine would wait for ever to send its error
	// after a signal, when nobody receives it.
	done := make(chan error, 1)
	go func() { done <- srv.Serve(listener) }()
	select {
	case err := <-done: // it could not serve
		return err
	case <-ctx.Done(): // a signal came
	}

	log.Info("stopping")
	limit, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
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
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,

		// net/http logs what it refuses itself, such as a failed TLS handshake.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// ---- The two documents ----

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
        "description": "hashed_password is the lesson's name for password. If both are sent, they must be equal.",
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
