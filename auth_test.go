package main

// The tests use authflow as people do: over HTTP, through the users file, and as a program. Most of
// them are conversations: begin there. The Go tests below show what a conversation can't: two
// requests at the same moment, a full disk, a signal. A failure begins with the promise that broke.
// The helpers are at the end.

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
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
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

// ---- The conversations ----

// The service in conversations: what is sent, and what must come back. This runs one of them:
//
//	go test -run 'TestConversations/forged_tokens'
//
//	== name: -flags       begins a conversation. Its own service has -v, these flags and no users.
//	                      Its clock stands still, at 1800000000.999 seconds since 1970.
//	# A promise.          A failure of what stands below begins with it.
//	POST /path body       sends a request, with the Content-Type that the route wants. After GET /path
//	                      stands the header Authorization.
//	200 body              is what each request above must get; … is any text.
//	Header: value         Under a request, it is sent as well; without a value, it is not sent. Under
//	                      an answer, it must be exactly this; without a value, it must be absent.
//	log x, no log x       What the log says about each of these requests has x, or doesn't.
//	file x, edit x -> y   The users file must be x; (none): there is none. y replaces the first x in
//	                      it; edit -> y: y is its whole text.
//	given enrico anna     The file gets these users alone, with the ids 1 and 2, and plaintextpassword
//	                      ($HASH). The first one logs in ($TOKEN).
//	from, wait, 10 times  set the client's address, move the service's clock, send ten times.
//	$ command             runs in the folder of the users file, $DIR. Its answer is the exit status,
//	                      and what it prints; log looks there, too. $ authflow is run without a shell,
//	                      and stops as soon as it serves.
//	{text*32}, b64(x)     32 times text, such as {s*32}, which is AUTH_SECRET; x in base64url.
//	\n, \r, \xff          A line end, and any byte. Other backslashes are sent: JSON has \u0064.
//	$TOKEN, hmac(key)     $HEADER.$PAYLOAD.$SIGNATURE of the last log-in; what signs the text before.
//	$HOST                 is where the service listens: 127.0.0.1:51234
//
// Not written here, but checked for every answer: it is JSON (a redirect isn't), and has the headers
// of setHeaders. The log has one short line about the request, and no secret.
const conversations = `
== the lesson
# Without a users file, the service must start, and have no users: see openStore in store.go.
file (none)
# The lesson's requests must work as they are. The lesson calls the plain password hashed_password.
POST /auth/signup {"username":"enrico","email":"enrico@example.com","hashed_password":"plaintextpassword"}
201 {"message":"User created","user_id":1}
# A sign-up must make the users file: one user a line, with a bcrypt hash and not the password. See signup in auth.go.
file [\n{"id":1,"username":"enrico","email":"enrico@example.com","hashed_password":"$2a$04$…","is_active":true}\n]\n
# The right password must get a token.
POST /auth/login username=enrico&password=plaintextpassword
200 {"message":"Login successful","user_id":1,"access_token":"…","token_type":"bearer","expires_in":3600}
# The token must tell whose it is. Nobody may see the hash: see me in auth.go.
GET /auth/me Bearer $TOKEN
200 {"id":1,"username":"enrico","email":"enrico@example.com","is_active":true}

== sign-up
given enrico
# A name must belong to one user, in any letter case: see create in store.go.
POST /auth/signup {"username":"enrico","email":"a@b","password":"other-password"}
POST /auth/signup {"username":"EnRiCo","email":"a@b","password":"other-password"}
400 {"detail":"Username already exists"}
# Two users may have one e-mail address. A member that we don't know must be ignored.
POST /auth/signup {"username":"anna","email":"enrico@example.com","password":"plaintextpassword","role":"admin"}
201 {"message":"User created","user_id":2}
# No client may choose its id or is_active, whatever it sends: see signupRequest in auth.go.
POST /auth/signup {"username":"bob","email":"a@b","password":"plaintextpassword","id":1,"is_active":false}
201 {"message":"User created","user_id":3}
file …{"id":3,"username":"bob",…,"is_active":true}\n]\n
POST /auth/signup {"username":"carla","email":"a@b","password":"plaintextpassword","id":1e999}
201 {"message":"User created","user_id":4}
# If both names of the password are sent, password must count: see parsePassword in auth.go.
POST /auth/signup {"username":"both","email":"a@b","hashed_password":7,"password":"plaintextpasswor\u0064"}
201 {"message":"User created","user_id":5}
POST /auth/login username=both&password=plaintextpassword
200 …"user_id":5,…

== unusual names and passwords
# What is short, long or unusual, but allowed, must sign up and log in: see usernamePattern in auth.go.
POST /auth/signup {"username":"x","email":"a@b","password":"8 chars "}
201 {"message":"User created","user_id":1}
POST /auth/login username=x&password=8+chars+
200 …"user_id":1,…
POST /auth/signup {"username":"{x*64}","email":"{x*242}@example.com","password":"{ü*36}"}
201 {"message":"User created","user_id":2}
POST /auth/login username={x*64}&password={%C3%BC*36}
200 …"user_id":2,…
POST /auth/signup {"username":"a.b_c-d@z+f","email":"ünï+b&c=d@exämple.com","password":"+&=%;☃ \""}
201 {"message":"User created","user_id":3}
# A raw semicolon must belong to the value: curl -d sends it as it is. See parseLogin in auth.go.
POST /auth/login username=A.b_c-d%40Z%2Bf&password=%2B%26%3D%25;%E2%98%83+%22
200 …"user_id":3,…

== faults of a sign-up
# A sign-up must be told all its faults at once, as FastAPI does: see parseSignup in auth.go.
POST /auth/signup {"username":"","email":"","password":""}
422 {"detail":[{"type":"string_pattern_mismatch","loc":["body","username"],"msg":"String should have 1 to 64 ASCII letters, digits and . _ - @ +"},{"type":"value_error","loc":["body","email"],"msg":"Value is not a valid email address"},{"type":"string_too_short","loc":["body","password"],"msg":"String should have at least 8 characters"}]}
# Username, Email and Password are other members: JSON has letter case.
POST /auth/signup {}
POST /auth/signup {"Username":"enrico","Email":"a@b","Password":"plaintextpassword"}
422 {"detail":[{"type":"missing","loc":["body","username"],"msg":"Field required"},{"type":"missing","loc":["body","email"],"msg":"Field required"},{"type":"missing","loc":["body","password"],"msg":"Field required"}]}
# A number is no text, and null is none either: see requireText in auth.go.
POST /auth/signup {"username":7,"email":true,"password":null}
422 {"detail":[{"type":"string_type","loc":["body","username"],"msg":"Input should be a valid string"},{"type":"string_type","loc":["body","email"],…},{"type":"string_type","loc":["body","password"],…}]}
# A username must have 1 to 64 ASCII letters, digits and . _ - @ +
POST /auth/signup {"username":" ","email":"a@b","password":"plaintextpassword"}
POST /auth/signup {"username":"renée","email":"a@b","password":"plaintextpassword"}
POST /auth/signup {"username":"{x*65}","email":"a@b","password":"plaintextpassword"}
422 {"detail":[{"type":"string_pattern_mismatch","loc":["body","username"],"msg":"String should have 1 to 64 ASCII letters, digits and . _ - @ +"}]}
# An e-mail address must be one bare address of at most 254 characters: see parseEmail in auth.go.
POST /auth/signup {"username":"enrico","email":"Enrico <enrico@example.com>","password":"plaintextpassword"}
POST /auth/signup {"username":"enrico","email":"enrico","password":"plaintextpassword"}
POST /auth/signup {"username":"enrico","email":"{ü*243}@example.com","password":"plaintextpassword"}
422 {"detail":[{"type":"value_error","loc":["body","email"],"msg":"Value is not a valid email address"}]}
# A password must have at least 8 characters and at most 72 bytes, since bcrypt reads no further: ü has two bytes.
POST /auth/signup {"username":"enrico","email":"a@b","password":"{ü*7}"}
422 {"detail":[{"type":"string_too_short","loc":["body","password"],"msg":"String should have at least 8 characters"}]}
POST /auth/signup {"username":"enrico","email":"a@b","password":"{ü*36}x"}
422 {"detail":[{"type":"string_too_long","loc":["body","password"],"msg":"String should have at most 72 bytes"}]}
# It must have no control character: bcrypt would take abc and abc\0abc for one password.
POST /auth/signup {"username":"enrico","email":"a@b","hashed_password":"plaintext\u0000plaintext"}
422 {"detail":[{"type":"value_error","loc":["body","hashed_password"],"msg":"Value should have no control character"}]}
# The body must be one JSON object in UTF-8. Where JSON ends, loc counts the bytes before: see parseObject in auth.go.
POST /auth/signup
422 {"detail":[{"type":"missing","loc":["body"],"msg":"Field required"}]}
POST /auth/signup []
POST /auth/signup null
422 {"detail":[{"type":"model_attributes_type","loc":["body"],"msg":"Input should be a valid dictionary or object"}]}
POST /auth/signup username=enrico
422 {"detail":[{"type":"json_invalid","loc":["body",0],"msg":"JSON decode error"}]}
POST /auth/signup {"username":"enrico"} {}
422 {"detail":[{"type":"json_invalid","loc":["body",22],"msg":"JSON decode error"}]}
POST /auth/signup {"username":"enrico\xff"}
422 {"detail":[{"type":"json_invalid","loc":["body"],"msg":"JSON decode error: not UTF-8"}]}
# A sign-up that is refused must change nothing.
file (none)

== log-in
given enrico
# The form is that of OAuth 2. Its other members, a client's own name and unknown members must not disturb.
POST /auth/login username=ENRICO&password=plaintextpassword&foo=1
POST /auth/login username=enrico&password=plaintextpassword&grant_type=
POST /auth/login grant_type=password&username=enrico&password=plaintextpassword&scope=a+b&client_id=c&client_secret=d
POST /auth/login username=enrico&password=plaintextpassword
Authorization: Basic Y2xpZW50OnNlY3JldA==
200 {"message":"Login successful",…
# What is nearly right must be refused. Every byte of a password counts.
POST /auth/login username=enrico&password=PlaintextPassword
POST /auth/login username=enrico&password=plaintextpassword+
POST /auth/login username=enrico+&password=plaintextpassword
401 {"detail":"Invalid credentials","error":"invalid_grant"}
WWW-Authenticate: Bearer realm="auth"
# Only ASCII letters have two cases: a Turkish İ is no i. See fold in store.go.
POST /auth/login username=enr%C4%B0co&password=plaintextpassword
401 {"detail":"Invalid credentials","error":"invalid_grant"}

== faults of a log-in
given enrico
# A log-in must be told all its faults at once, with OAuth 2's name for them: see parseLogin in auth.go.
POST /auth/login
POST /auth/login username=&password=
422 {"detail":[{"type":"missing","loc":["body","username"],"msg":"Field required"},{"type":"missing","loc":["body","password"],"msg":"Field required"}],"error":"invalid_request"}
POST /auth/login username=enrico&grant_type=client_credentials
422 {"detail":[{"type":"missing","loc":["body","password"],…},{"type":"string_pattern_mismatch","loc":["body","grant_type"],"msg":"String should match pattern '^password$'"}],"error":"unsupported_grant_type"}
POST /auth/login username=%zz&password=plaintextpassword
422 {"detail":[{"type":"value_error","loc":["body"],"msg":"Value is not a valid form"}],"error":"invalid_request"}
# A name and a password in the URL must not count: URLs end up in logs.
POST /auth/login?username=enrico&password=plaintextpassword
422 {"detail":[{"type":"missing",…},{"type":"missing",…}],"error":"invalid_request"}

== the same answer: -cost 5
# A stranger must not learn who has an account: all wrong log-ins get one answer, after the same work.
# Only the log tells them apart: see authenticate and compare in auth.go. (A hash of another cost than -cost takes another time.)
POST /auth/signup {"username":"enrico","email":"a@b","password":"plaintextpassword"}
POST /auth/signup {"username":"disabled","email":"a@b","password":"plaintextpassword"}
201 …
edit true}\n] -> false}\n]
POST /auth/login username=enrico&password=wrong-password
401 {"detail":"Invalid credentials","error":"invalid_grant"}
log msg="compared with bcrypt" …cost=5 …reason="wrong password"
POST /auth/login username=nobody&password=plaintextpassword
POST /auth/login username={x*60000}&password=plaintextpassword
401 {"detail":"Invalid credentials","error":"invalid_grant"}
log msg="compared with bcrypt" …cost=5 …reason="unknown user"
POST /auth/login username=disabled&password=plaintextpassword
401 {"detail":"Invalid credentials","error":"invalid_grant"}
log msg="compared with bcrypt" …cost=5 …reason="disabled user"

== long passwords
# bcrypt reads 72 bytes, so it takes these for the right password. They must be refused, after the same
# work as any other: see compare in auth.go.
POST /auth/signup {"username":"longest","email":"a@b","password":"{x*72}"}
201 …
POST /auth/login username=longest&password={x*73}
POST /auth/login username=longest&password={x*72}%FF
401 {"detail":"Invalid credentials","error":"invalid_grant"}
log msg="compared with bcrypt"
POST /auth/login username=longest&password={x*72}
200 …

== who am I
given enrico
# Bearer may be written in any letter case, with several blanks (RFC 9110).
GET /auth/me Bearer $TOKEN
GET /auth/me bEARER   $TOKEN
200 {"id":1,"username":"enrico",…
# Who sends no token must be told so, and no token is called invalid: see requireUser in auth.go.
GET /auth/me
GET /auth/me Bearer
GET /auth/me Basic $TOKEN
GET /auth/me $TOKEN
401 {"detail":"Not authenticated"}
WWW-Authenticate: Bearer realm="auth"

== the token
given enrico
# A token must be a JSON Web Token, signed with HMAC-SHA256. sub is the id, exp is an hour after iat,
# and pwd is a digest of the name and the hash: see newToken in auth.go.
POST /auth/login username=enrico&password=plaintextpassword
200 …"access_token":"b64({"alg":"HS256","typ":"JWT"}).b64({"sub":"1","iat":1800000000,"exp":1800003600,"pwd":"uAWtHkaMLEk"}).hmac({s*32})",…
# Who has the secret may make tokens, with other claims too.
GET /auth/me Bearer b64({"alg":"HS256","typ":"JWT"}).b64({"pwd":"uAWtHkaMLEk","exp":1800000001,"sub":"1","role":"x"}).hmac({s*32})
200 {"id":1,"username":"enrico",…

== alg none
given enrico
# The token must not choose how it is checked, or anybody could make one. So only one header must be taken, even if the
# token is signed: the text that the service itself writes. See verifyToken in auth.go.
GET /auth/me Bearer b64({"alg":"none"}).$PAYLOAD.
GET /auth/me Bearer b64({"alg":"none"}).$PAYLOAD.hmac({s*32})
GET /auth/me Bearer b64({"typ":"JWT","alg":"HS256"}).$PAYLOAD.hmac({s*32})
401 {"detail":"Could not validate credentials"}
log reason="it doesn't have three parts, or has another header than ours"

== forged tokens
given enrico
# A token that nobody has signed with the secret must be refused: see verifyToken in auth.go.
GET /auth/me Bearer $HEADER.b64({"sub":"2"}).$SIGNATURE
GET /auth/me Bearer $HEADER.$PAYLOAD.
GET /auth/me Bearer $HEADER.$PAYLOAD.hmac()
GET /auth/me Bearer $HEADER.$PAYLOAD.hmac({S*32})
GET /auth/me Bearer $TOKEN=
401 {"detail":"Could not validate credentials"}
WWW-Authenticate: Bearer realm="auth", error="invalid_token"
log reason="the signature doesn't fit"
# It must have three parts.
GET /auth/me Bearer $HEADER.$PAYLOAD
GET /auth/me Bearer $TOKEN.$SIGNATURE
401 {"detail":"Could not validate credentials"}
# Its claims must be those that we write: exp, the id as a string, and the digest. See userOf in auth.go.
GET /auth/me Bearer $HEADER.b64({"sub":"1","pwd":"uAWtHkaMLEk"}).hmac({s*32})
401 {"detail":"Could not validate credentials"}
log reason="the token has expired"
GET /auth/me Bearer $HEADER.b64({"sub":1,"exp":1800003600,"pwd":"uAWtHkaMLEk"}).hmac({s*32})
GET /auth/me Bearer $HEADER.b64({"sub":"1","exp":"1800003600","pwd":"uAWtHkaMLEk"}).hmac({s*32})
GET /auth/me Bearer $HEADER.b64(sub=1).hmac({s*32})
GET /auth/me Bearer $HEADER.!.hmac({s*32})
401 {"detail":"Could not validate credentials"}
log reason="the claims can't be read"
GET /auth/me Bearer $HEADER.b64({"sub":"0x1","exp":1800003600,"pwd":"uAWtHkaMLEk"}).hmac({s*32})
GET /auth/me Bearer $HEADER.b64({"sub":"9223372036854775808","exp":1800003600,"pwd":"uAWtHkaMLEk"}).hmac({s*32})
401 {"detail":"Could not validate credentials"}
log reason="no user has this id"
GET /auth/me Bearer $HEADER.b64({"sub":"1","exp":1800003600}).hmac({s*32})
401 {"detail":"Could not validate credentials"}
log reason="the user's name or password has changed since"

== the time of a token
given enrico
# A token must be good for an hour, and refused from exp on: see verifyToken in auth.go. (The clock begins 1 ms before
# a full second, and tokens count in full seconds.)
wait 59m59s
GET /auth/me Bearer $TOKEN
200 {"id":1,"username":"enrico",…
wait 1ms
GET /auth/me Bearer $TOKEN
401 {"detail":"Could not validate credentials"}
log reason="the token has expired"

== tokens for 90 seconds: -token-ttl 90s
given enrico
# A token must be good for as long as -token-ttl says: see newToken in auth.go.
POST /auth/login username=enrico&password=plaintextpassword
200 …,"expires_in":90}
wait 89s
GET /auth/me Bearer $TOKEN
200 …
wait 1s
GET /auth/me Bearer $TOKEN
401 {"detail":"Could not validate credentials"}

== void tokens
given enrico anna
# A token must be void the moment its user gets another password or name: see fingerprint in auth.go.
edit $HASH -> $2a$04$K68wnF6avGculrQnceFSHOUOOHWuIfylcSJm.RFMrGOrKhqNdrR.W
GET /auth/me Bearer $TOKEN
401 {"detail":"Could not validate credentials"}
log reason="the user's name or password has changed since"
given enrico anna
edit "enrico" -> "enrica"
GET /auth/me Bearer $TOKEN
401 {"detail":"Could not validate credentials"}
log reason="the user's name or password has changed since"
# If only the e-mail address or the case of the name changes, the token must stay good.
edit "enrica","email":"enrico@ -> "ENRICO","email":"other@
GET /auth/me Bearer $TOKEN
200 {"id":1,"username":"ENRICO","email":"other@example.com","is_active":true}
# While a user is disabled, the token must be refused: see userOf in auth.go.
edit true} -> false}
GET /auth/me Bearer $TOKEN
401 {"detail":"Could not validate credentials"}
log reason="the user is disabled"
edit false} -> true}
GET /auth/me Bearer $TOKEN
200 …
# A removed user's token must be void, also if the id goes to somebody else.
edit -> []
GET /auth/me Bearer $TOKEN
401 {"detail":"Could not validate credentials"}
log reason="no user has this id"
POST /auth/signup {"username":"carla","email":"a@b","password":"plaintextpassword"}
201 {"message":"User created","user_id":1}
GET /auth/me Bearer $TOKEN
401 {"detail":"Could not validate credentials"}
log reason="the user's name or password has changed since"

== paths
# An unknown path must get 404 and a wrong method 405, both in JSON. 405 names what works: see noRoute in main.go.
GET /nosuch
POST /auth/
GET /auth/me/
404 {"detail":"Not Found"}
Allow:
GET /auth/signup
DELETE /auth/login
OPTIONS /auth/login
405 {"detail":"Method Not Allowed"}
Allow: POST
HEAD /auth/login
405
Allow: POST
POST /auth/me
BREW /docs
PUT /
405 {"detail":"Method Not Allowed"}
Allow: GET, HEAD
# The first page must be /docs. A path that is not clean must lead to the clean one.
GET /
307 …
Location: /docs
GET //auth/../healthz?x=1
307 …
Location: /healthz?x=1

== bodies
given enrico
# A wrong Content-Type must get 415, with the right one: see readBody in auth.go.
POST /auth/signup {}
Content-Type: application/x-www-form-urlencoded
POST /auth/signup {}
Content-Type:
415 {"detail":"Content-Type must be application/json"}
POST /auth/login {}
Content-Type: application/json
POST /auth/login {}
Content-Type: multipart/form-data; boundary=x
415 {"detail":"Content-Type must be application/x-www-form-urlencoded"}
POST /auth/signup {"username":"enrico","email":"a@b","password":"plaintextpassword"}
Content-Type: Application/JSON; charset=UTF-8
400 {"detail":"Username already exists"}
# A body must have at most 64 KiB. A 413 must not wait for the rest of it: see readBody in auth.go.
POST /auth/signup { *65470}{"username":"enrico","email":"a@b","password":"plaintextpassword"}
400 {"detail":"Username already exists"}
POST /auth/signup { *65471}{"username":"enrico","email":"a@b","password":"plaintextpassword"}
Connection: keep-alive
POST /auth/login 10001\r\n{x*65537}\r\n0\r\n\r\n
Transfer-Encoding: chunked
413 {"detail":"Body must be at most 65536 bytes"}
Connection: close
# A body that breaks off must be called so.
POST /auth/login zz\r\n
Transfer-Encoding: chunked
400 {"detail":"Body could not be read to its end"}

== the users file
given enrico
# What a person wrote must stay as it is, and the next id follows the highest: see textWith in store.go.
edit -> \xef\xbb\xbf[\r\n  {"note":"<b>\u00fc ]",\r\n"id": 7,"username":"Enrico","email":"e@b","hashed_password":"$HASH","is_active":true,"tags":[1.50,{"a":null}]}\r\n ]\r\n\r\n
POST /auth/login username=enrico&password=plaintextpassword
200 …"user_id":7,…
POST /auth/signup {"username":"anna","email":"a@b","password":"plaintextpassword"}
201 {"message":"User created","user_id":8}
file [\r\n  {"note":"<b>\u00fc ]",\r\n"id": 7,"username":"Enrico","email":"e@b","hashed_password":"$HASH","is_active":true,"tags":[1.50,{"a":null}]},\n{"id":8,"username":"anna","email":"a@b","hashed_password":"$2a$04$…","is_active":true}\n]\n
# A hash of another program, such as passlib's $2b$ and htpasswd's $2y$, must work.
edit $2a$ -> $2b$
POST /auth/login username=enrico&password=plaintextpassword
200 …
edit $2b$ -> $2y$
POST /auth/login username=enrico&password=plaintextpassword
200 …
# The members' names count in any letter case. So a note that is called Email replaces the address.
edit ,"tags" -> ,"Email":"note","tags"
GET /auth/me Bearer $TOKEN
200 …"email":"note",…
# After the largest id, a sign-up must be refused: see create in store.go.
edit "id": 7 -> "id": 9223372036854775807
POST /auth/signup {"username":"bob","email":"a@b","password":"plaintextpassword"}
503 {"detail":"Users cannot be stored just now"}
log reason="no id is left above the largest one in the users file"
# To a file without users, a sign-up must add the first one.
edit -> null
POST /auth/signup {"username":"bob","email":"a@b","password":"plaintextpassword"}
201 {"message":"User created","user_id":1}
file [\n{"id":1,…}\n]\n

== an edit with a fault
given enrico anna
# An edit with a fault must not be overwritten. Sign-ups get 503, log-ins go on with the last good users, and the log
# names the fault once: see reload in store.go.
edit "anna" -> "ENRICO"
GET /auth/me Bearer $TOKEN
200 {"id":1,"username":"enrico",…
log level=ERROR …users.json: user 2 ("ENRICO"): username is missing, or used twice (in any letter case)
POST /auth/login username=anna&password=plaintextpassword
200 …"user_id":2,…
POST /auth/signup {"username":"carla","email":"a@b","password":"plaintextpassword"}
503 {"detail":"Users cannot be stored just now"}
log level=ERROR msg="refused the request" …status=503 detail="Users cannot be stored just now" reason="…users.json: user 2 ("ENRICO"): 
no log msg="the users file has a fault
file …"ENRICO"…
# A 503 must say when to come again: see tryLater in auth.go.
POST /auth/signup {"username":"carla","email":"a@b","password":"plaintextpassword"}
503 {"detail":"Users cannot be stored just now"}
Retry-After: 5
# GET /healthz must say ok while the process serves, whatever the state of the users file.
GET /healthz
200 {"status":"ok"}
# Once the fault is mended, all must go on.
edit "ENRICO" -> "anna"
POST /auth/signup {"username":"carla","email":"a@b","password":"plaintextpassword"}
201 {"message":"User created","user_id":3}
log level=INFO msg="read the users file" users=2

== faults at the start
given enrico anna
# The start must refuse a users file with a fault, and name the line where Go stopped: see lineOf in store.go.
edit ,\n -> \n
$ authflow
1 authflow: …users.json: line 3: invalid character '{' after array element
given enrico anna
edit \n]\n -> ,\n]\n
$ authflow
1 authflow: …users.json: line 4: invalid character ']' looking for beginning of value
given enrico anna
edit ] ->
$ authflow
1 authflow: …users.json: line 4: unexpected end of JSON input
edit ->
$ authflow
1 authflow: …users.json: line 1: unexpected end of JSON input
given enrico anna
edit ]\n -> ]\n[]\n
$ authflow
1 authflow: …users.json: line 5: invalid character '[' after top-level value
edit -> \n{"id":1}
$ authflow
1 authflow: …users.json: line 2: json: cannot unmarshal object …
edit -> [\n{"id":1.5}]
$ authflow
1 authflow: …users.json: line 2: json: cannot unmarshal number 1.5 …
# What json.Unmarshal would replace and not say must be a fault.
edit -> [{"note":"\xfc"}]
$ authflow
1 authflow: …users.json: not UTF-8: save the file as UTF-8
# Or the place and the name of the user who has it: see whatIsWrong in store.go.
given enrico anna
edit "id":2 -> "id":1
$ authflow
1 authflow: …users.json: user 2 ("anna"): id is missing, below 1, or used twice
edit "id":1 -> "id":0
$ authflow
1 authflow: …users.json: user 1 ("enrico"): id is missing, below 1, or used twice
given enrico anna
edit "anna" -> ""
$ authflow
1 authflow: …users.json: user 2 (""): username is missing, or used twice (in any letter case)
edit enrico@example.com ->
$ authflow
1 authflow: …users.json: user 1 ("enrico"): email is missing
# bcrypt would take hours for cost 31, and compare a hash that is none with nothing.
given enrico anna
edit $HASH -> plaintextpassword
$ authflow
1 authflow: …users.json: user 1 ("enrico"): hashed_password is missing, or not a bcrypt hash of cost 4 to 16
edit plaintextpassword -> ${HASH}x
$ authflow
1 authflow: …users.json: user 1 ("enrico"): hashed_password …
edit ${HASH}x -> !$HASH
$ authflow
1 authflow: …users.json: user 1 ("enrico"): hashed_password …
edit !$2a$04 -> $2a$31
$ authflow
1 authflow: …users.json: user 1 ("enrico"): hashed_password …
file …$2a$31…

== a file that is gone
given enrico
# A users file that is gone must be a fault like any other, and not an empty store: see readUsers in store.go.
$ rm users.json
0
GET /auth/me Bearer $TOKEN
200 {"id":1,"username":"enrico",…
log level=ERROR msg="the users file has a fault…users.json: …: it must be there, and authflow must be able to read it"

== no regular file
given enrico
# A pipe in the place of the users file must be a fault, and nothing may wait for it: see readUsers in store.go.
$ rm users.json && mkfifo users.json
0
GET /auth/me Bearer $TOKEN
200 {"id":1,"username":"enrico",…
log level=ERROR …users.json must be a regular file"
$ authflow
1 authflow: …users.json must be a regular file
# So must a folder, a link that leads nowhere, and a folder that is missing.
$ mkdir folder && ln -s nowhere link
0
$ authflow -users $DIR/folder
1 authflow: …folder must be a regular file
$ authflow -users $DIR/link
1 authflow: …link is a link that leads nowhere: …
$ authflow -users $DIR/no/folder/users.json
1 authflow: the folder of …users.json is missing: make it first
$ ls
0 folder\nlink\nusers.json

== every kind of edit
given enrico
# The next request must see an edit by another size, another time or another file: see sameStamp in store.go.
$ touch -r users.json stamp && echo >> users.json && sed s/enrico@/second@/ users.json > new
0
$ cat new > users.json && touch -r stamp users.json
0
GET /auth/me Bearer $TOKEN
200 …"email":"second@example.com"…
$ sed s/second@/third1@/ new > users.json
0
GET /auth/me Bearer $TOKEN
200 …"email":"third1@example.com"…
$ sed s/third1@/fourth@/ users.json > new && touch -r users.json new && mv new users.json
0
GET /auth/me Bearer $TOKEN
200 …"email":"fourth@example.com"…
# A sign-up must keep the edit.
POST /auth/signup {"username":"anna","email":"a@b","password":"plaintextpassword"}
201 …
file …"email":"fourth@example.com"…

== always whole
given enrico
# The users file must be whole at any instant. So a save must write a new file, and rename it: see replace in store.go.
# (ln gives the old file a second name, which shows it as it is.)
$ ln users.json old
0
POST /auth/signup {"username":"anna","email":"a@b","password":"plaintextpassword"}
201 …
$ grep -c anna users.json old
0 users.json:1\nold:0
# Only its owner may read the password hashes.
$ chmod 666 users.json
0
POST /auth/signup {"username":"bob","email":"a@b","password":"plaintextpassword"}
201 …
$ ls -l users.json
0 -rw-------…

== the new file is the lock
given enrico
# While another process saves, users.json.authflow-new exists. A sign-up must not touch it: see writeNew in store.go.
$ echo x > users.json.authflow-new
0
POST /auth/signup {"username":"anna","email":"a@b","password":"plaintextpassword"}
503 {"detail":"Users cannot be stored just now"}
log reason="…users.json.authflow-new: …exists
POST /auth/login username=anna&password=plaintextpassword
401 {"detail":"Invalid credentials","error":"invalid_grant"}
$ cat users.json.authflow-new
0 x
# The start must remove what a killed save left: see tryToWrite in store.go.
$ authflow
0 …
no log no user can be stored
POST /auth/signup {"username":"anna","email":"a@b","password":"plaintextpassword"}
201 {"message":"User created","user_id":2}
$ ls
0 users.json

== the log
given enrico
# The log must have one plain, short line for each request, whatever a client sends: see logRequests in main.go.
GET /%0d%0atime=forged%20level=INFO
404 {"detail":"Not Found"}
log level=INFO msg=request …method=GET path="/%0d%0atime=forged%20level=INFO" status=404 took=…addr=127.0.0.1:
GET /\xff\xe2\x80\xae{x*300}?password=plaintextpassword
404 {"detail":"Not Found"}
log path=/%FF%E2%80%AE{x*187} status=404
{X*300} /
405 …
log method={X*200} path=/
# No password, token, hash or secret may be in the log: all conversations look for them.
POST /auth/login username=plaintextpassword&password=wrong-password
401 …
POST /auth/signup {"username":"anna","email":"plaintextpassword","password":"plaintextpassword"}
422 …
POST /auth/login zz\r\n
Transfer-Encoding: chunked
400 …
GET /auth/me?access_token=$TOKEN Bearer $TOKEN
200 …
GET /auth/me Bearer {x*43}.$TOKEN
401 …

== the log without -v: -v=false
given enrico
# Without -v, the log must have one line for a request, and not the steps and the reasons.
POST /auth/login username=enrico&password=wrong-password
401 …
log level=INFO msg=request req=2 method=POST path=/auth/login status=401
no log refused
no log DEBUG
# From status 500 on, it must have the reason too: see writeError in auth.go.
edit -> half of a file
POST /auth/signup {"username":"anna","email":"a@b","password":"plaintextpassword"}
503 …
log level=ERROR msg="refused the request" …status=503 …reason="…line 1: invalid character 'h'

== pages of allowed origins: -allow-origin https://front.example -allow-origin http://localhost:5173
# A page of an origin that -allow-origin names may use the API, with all usual methods: see allowOrigins in main.go.
OPTIONS /auth/signup
Origin: http://localhost:5173
Access-Control-Request-Method: POST
OPTIONS /nosuch
Origin: https://front.example
Access-Control-Request-Method: DELETE
204
Access-Control-Allow-Methods: GET, POST, PUT, PATCH, DELETE
Access-Control-Allow-Headers: Authorization, Content-Type
# It may read every answer, and the headers that it needs. There are no cookies to allow.
POST /auth/signup {"username":"enrico","email":"a@b","password":"plaintextpassword"}
Origin: http://localhost:5173
Sec-Fetch-Site: cross-site
201 …
Access-Control-Allow-Origin: http://localhost:5173
Access-Control-Expose-Headers: Retry-After, WWW-Authenticate
Access-Control-Allow-Credentials:
Vary:
GET /nosuch
Origin: http://localhost:5173
404 …
Access-Control-Allow-Origin: http://localhost:5173
# An OPTIONS that asks for nothing is no preflight.
OPTIONS /auth/login
Origin: http://localhost:5173
405 …

== pages of other origins: -allow-origin http://localhost:5173
# A page of another origin must not read an answer, and not use the browser of its visitor to sign up or to guess
# passwords. The log must name its origin: see refuseOtherOrigins in main.go.
POST /auth/signup {}
Origin: http://localhost:5174
403 {"detail":"Cross-origin request refused"}
Access-Control-Allow-Origin:
log reason="-allow-origin does not name …http://localhost:5174
POST /auth/signup {}
Origin: https://localhost:5173
POST /auth/signup {}
Origin: http://localhost:5173.evil.example
POST /auth/signup {}
Origin: null
POST /auth/login username=enrico&password=wrong-password
Sec-Fetch-Site: cross-site
POST /auth/login username=enrico&password=wrong-password
Sec-Fetch-Site: same-site
403 {"detail":"Cross-origin request refused"}
Access-Control-Allow-Origin:
# Its preflight must be refused.
OPTIONS /auth/me
Origin: http://localhost:5174
Access-Control-Request-Method: GET
405 {"detail":"Method Not Allowed"}
Access-Control-Allow-Origin:
Access-Control-Allow-Methods:
# A GET changes nothing, so it may pass; the browser hides the answer.
GET /healthz
Origin: http://localhost:5174
Sec-Fetch-Site: cross-site
200 {"status":"ok"}
Access-Control-Allow-Origin:
# Our own page must pass. An old browser sends no Sec-Fetch-Site: then Origin must fit the Host, which is x here.
POST /auth/login username=enrico&password=wrong-password
Sec-Fetch-Site: same-origin
POST /auth/login username=enrico&password=wrong-password
Origin: http://x
401 {"detail":"Invalid credentials","error":"invalid_grant"}

== the throttle
given enrico
from 192.0.2.1:1111
# After 10 failures in a row, a name gets one try a minute, and otherwise 429, even for the right password:
# see throttle in auth.go.
10 times POST /auth/login username=enrico&password=wrong-password
401 {"detail":"Invalid credentials","error":"invalid_grant"}
POST /auth/login username=enrico&password=plaintextpassword
429 {"detail":"Too many failed log-ins"}
Retry-After: 60
log status=429 detail="Too many failed log-ins"
wait 59.001s
POST /auth/login username=enrico&password=plaintextpassword
429 {"detail":"Too many failed log-ins"}
Retry-After: 1
wait 999ms
POST /auth/login username=enrico&password=wrong-password
401 {"detail":"Invalid credentials","error":"invalid_grant"}
POST /auth/login username=enrico&password=plaintextpassword
429 {"detail":"Too many failed log-ins"}
Retry-After: 60
# A success must clear the failures.
wait 1m
POST /auth/login username=enrico&password=plaintextpassword
200 …
9 times POST /auth/login username=enrico&password=wrong-password
401 {"detail":"Invalid credentials","error":"invalid_grant"}
POST /auth/login username=enrico&password=plaintextpassword
200 …

== whom the throttle counts
given enrico
from 192.0.2.1:1111
# The throttle must count by name and address, so that nobody can lock out a user who is elsewhere:
# see newThrottleKey in auth.go.
10 times POST /auth/login username=enrico&password=wrong-password
401 {"detail":"Invalid credentials","error":"invalid_grant"}
POST /auth/login username=anna&password=wrong-password
401 {"detail":"Invalid credentials","error":"invalid_grant"}
from 192.0.2.2:1111
POST /auth/login username=enrico&password=plaintextpassword
200 …
# Another spelling of the name, or another port, must not escape it.
from 192.0.2.1:2222
POST /auth/login username=ENRIC%4F&password=plaintextpassword
429 {"detail":"Too many failed log-ins"}
# A name that nobody has must be counted in the same way. All of one IPv6 network (/64) is one address.
from [2001:db8:1:2::1%eth0]:1111
10 times POST /auth/login username=nobody&password=wrong-password
401 {"detail":"Invalid credentials","error":"invalid_grant"}
from [2001:db8:1:2:ffff::9]:1111
POST /auth/login username=nobody&password=wrong-password
429 {"detail":"Too many failed log-ins"}
from [2001:db8:1:3::1]:1111
POST /auth/login username=nobody&password=wrong-password
401 {"detail":"Invalid credentials","error":"invalid_grant"}

== forwarding headers
given enrico
# Anybody can send these headers, so the throttle must not believe them: see newThrottleKey in auth.go.
10 times POST /auth/login username=enrico&password=wrong-password
401 {"detail":"Invalid credentials","error":"invalid_grant"}
POST /auth/login username=enrico&password=wrong-password
X-Forwarded-For: 198.51.100.2
X-Real-Ip: 198.51.100.2
Forwarded: for=198.51.100.2
429 {"detail":"Too many failed log-ins"}

== flags
# Wrong usage must be exit status 2, with one line that says what would be right: see run in main.go.
$ authflow -nosuch
2 authflow: flag provided but not defined: -nosuch (authflow -h explains)
$ authflow serve
2 authflow: unexpected argument "serve": there are only flags (authflow -h explains)
$ authflow -cost 3
$ authflow -cost 17
2 authflow: -cost must be from 4 to 16 (authflow -h explains)
$ authflow -cost x
$ authflow -token-ttl 30d
2 authflow: invalid value "…" for flag …: parse error (authflow -h explains)
$ authflow -token-ttl 999ms
2 authflow: -token-ttl must be at least 1s (authflow -h explains)
# An empty value may be a variable that is not set. An empty -addr would listen on all addresses.
$ authflow -addr ""
$ authflow -addr 127.0.0.1:
2 authflow: -addr must be host:port, such as 127.0.0.1:8000 (authflow -h explains)
$ authflow -users ""
2 authflow: -users must not be empty (authflow -h explains)
$ authflow -tls-cert cert.pem
$ authflow -tls-key key.pem
2 authflow: -tls-cert and -tls-key go together (authflow -h explains)
# The secret must have 32 bytes at least, as many as HMAC-SHA256 has.
$ AUTH_SECRET={s*31} authflow
2 authflow: AUTH_SECRET must have at least 32 bytes: try openssl rand -base64 32 (authflow -h explains)
# -h must explain the flags and the environment, with the defaults: see newFlags in main.go.
$ authflow -h
0 Usage: …AUTH_SECRET…-addr …(default "127.0.0.1:8000")…-cost …(default 12)…-token-ttl …(default 1h0m0s)…-users …(default "users.json")…
# What no browser sends as an origin must be refused, with a form that works: see addOrigin in main.go.
$ authflow -allow-origin *
$ authflow -allow-origin null
$ authflow -allow-origin localhost:5173
$ authflow -allow-origin http://a.b/
$ authflow -allow-origin http://a:b
$ authflow -allow-origin http://A.b
$ authflow -allow-origin http://a.b:80
$ authflow -allow-origin https://a.b:443
2 authflow: invalid value "…" for flag -allow-origin: …http://localhost:5173 (authflow -h explains)

== the start
# A start without a risk has no warning. It logs the address to open.
$ AUTH_SECRET={s*32} authflow -cost 10
$ AUTH_SECRET={s*32} authflow -cost 16 -token-ttl 1s -allow-origin http://[::1]:5173 -allow-origin https://a.b:80
0 …level=INFO msg=listening url=http://127.0.0.1:…
no log WARN
# Each risk must have a warning: see warnOfRisks in main.go.
$ authflow
0 …level=WARN msg="AUTH_SECRET is not set, or empty: after a restart, no token is valid any more"…
$ AUTH_SECRET={s*32} authflow -cost 9
0 …level=WARN msg="passwords are hashed too fast to be safe: use -cost 12" cost=9…
$ AUTH_SECRET={s*32} authflow -addr 0.0.0.0:0
0 …level=WARN msg="passwords cross the network unencrypted: use -tls-cert and -tls-key, or a TLS proxy"…
# What can't serve must end with exit status 1, and one line that says what to do: see serve in main.go.
$ authflow -addr no..host:0
1 authflow: listen tcp: …: choose another address with -addr
$ authflow -tls-cert nosuch.pem -tls-key nosuch.pem
1 authflow: -tls-cert or -tls-key: open nosuch.pem: …
# A port that is taken must be seen before the users file is touched: another process may save just now.
edit -> []
$ echo x > users.json.authflow-new
0
$ authflow -addr $HOST
1 authflow: listen tcp $HOST: …: choose another address with -addr
$ ls
0 users.json\nusers.json.authflow-new
`

// TestConversations holds each of the conversations above with a service of its own.
func TestConversations(t *testing.T) {
	for _, text := range strings.Split(conversations, "\n== ")[1:] {
		heading, text, _ := strings.Cut(text, "\n")
		name, flags, _ := strings.Cut(heading, ": ")
		t.Run(name, func(t *testing.T) {
			newService(t, strings.Fields(flags)...).converse(t, text)
		})
	}
}

// hashOfGiven is the hash of plaintextpassword, at cost 4, that the users of a given line have.
const hashOfGiven = "$2a$04$9u7v6rokeL3N2oyP.1d1NOYbUZYLIQWa4UdioSB0N2ten55kRCSfq"

// A talk is a conversation that goes on.
type talk struct {
	*service
	t         *testing.T
	variables []string // $NAME, value, $NAME, value, …
	promise   string
	line      string     // of this file, with its place
	requests  [][]string // which wait for their answer: the line, then the headers
	asked     []string   // the same, as they are written
	answers   []answer   // to the last requests
	sent      string     // what the answer is to, for a failure
	token     string
}

// converse holds a conversation. The first failure ends it: what follows would only say the same.
// The variables are more pairs of a name and its value.
func (s *service) converse(t *testing.T, text string, variables ...string) {
	before, _, found := strings.Cut(readFile(t, "auth_test.go"), text)
	if !found {
		t.Fatal("A conversation must stand in this file as it is: a failure names its line.")
	}

	number, wasPromise := strings.Count(before, "\n"), false
	c := &talk{service: s, t: t, variables: variables}
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(line, "\n")
		c.line = fmt.Sprintf("%s (auth_test.go:%d)", line, number)

		// A promise waits for a failure. (do refuses it between a request and its answer.)
		promise, isPromise := strings.CutPrefix(line, "# ")
		switch {
		case !isPromise || c.requests != nil:
			c.do(c.expand(line))
		case wasPromise: // its second line
			c.promise += " " + promise
		default:
			c.promise = promise
		}
		wasPromise = isPromise
	}
	if c.requests != nil {
		t.Fatalf("This request has no answer: %s", c.line)
	}
}

// expand writes in full what a line abbreviates.
func (c *talk) expand(line string) string {
	parts := append(strings.Split(c.token, "."), "", "")
	line = strings.NewReplacer(append(c.variables, "$TOKEN", c.token,
		"$HEADER", parts[0], "$PAYLOAD", parts[1], "$SIGNATURE", parts[2],
		"$HASH", hashOfGiven, "$DIR", filepath.Dir(c.path), "$HOST", c.host)...).Replace(line)

	// First the repeated texts, which may be in the others.
	line = replaceAll(line, `\{([^{}]+)\*(\d+)\}`, func(part []string) string {
		n, _ := strconv.Atoi(part[2])
		return strings.Repeat(part[1], n)
	})
	line = replaceAll(line, `\bb64\((.*?)\)`, func(part []string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(part[1]))
	})
	line = replaceAll(line, `([^\s"]*)\.hmac\((.*?)\)`, func(part []string) string {
		mac := hmac.New(sha256.New, []byte(part[2]))
		mac.Write([]byte(part[1]))
		return part[1] + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	})

	// Of the backslashes, these are ours. JSON's own stay as they are.
	return replaceAll(line, `\\(n|r|x..)`, func(part []string) string {
		plain, _ := strconv.Unquote(`"` + part[0] + `"`)
		return plain
	})
}

// replaceAll replaces what fits to a pattern. f gets it, and its parts in parentheses.
func replaceAll(text, pattern string, f func(part []string) string) string {
	expression := regexp.MustCompile(pattern)
	return expression.ReplaceAllStringFunc(text, func(found string) string {
		return f(expression.FindStringSubmatch(found))
	})
}

var (
	isRequest = regexp.MustCompile(`^(?:(\d+) times )?([A-Z]+ /|\$ )`)
	isHeader  = regexp.MustCompile(`^[A-Z][A-Za-z-]+:`)
	isAnswer  = regexp.MustCompile(`^\d+( |$)`)
)

// do does what a line says.
func (c *talk) do(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch {
	// What is sent. It waits for the line of its answer.
	case isRequest.MatchString(line) && c.promise != "":
		c.requests, c.asked = append(c.requests, []string{line}), append(c.asked, c.line)
	case isHeader.MatchString(line) && c.requests != nil:
		last := len(c.requests) - 1
		c.requests[last] = append(c.requests[last], line)
		c.asked[last] += "\n      " + c.line

	// What must come.
	case isAnswer.MatchString(line) && c.requests != nil:
		status, _ := strconv.Atoi(word)
		c.ask(status, rest)
	case c.requests != nil:
		c.t.Fatalf("An answer must come before this line: %s", c.line)
	case isHeader.MatchString(line) && c.answers != nil:
		name, want, _ := strings.Cut(line, ":")
		for _, a := range c.answers {
			came := a.header.Get(name)
			c.check(came == strings.TrimSpace(want), name+": "+came, line)
		}

	// What must be in the log and in the users file.
	case (word == "log" || strings.HasPrefix(line, "no log ")) && c.answers != nil:
		wanted := "…" + strings.TrimPrefix(rest, "log ") + "…"
		for _, a := range c.answers {
			ok := matches(a.log, wanted) == (word == "log")
			c.check(ok, "in the log\n"+lastLines(a.log), line)
		}
	case word == "file":
		came, err := os.ReadFile(c.path)
		if err != nil {
			came = []byte("(none)")
		}
		c.check(matches(string(came), rest), "the users file\n"+string(came), line)

	// What happens beside the requests.
	case word == "edit":
		old, new, _ := strings.Cut(rest, "->")
		edit(c.t, c.path, strings.TrimSuffix(old, " "), strings.TrimPrefix(new, " "))
	case word == "given":
		c.token = c.given(c.t, strings.Fields(rest)...)
	case word == "from":
		c.from = rest
	case word == "wait":
		step, err := time.ParseDuration(rest)
		must(c.t, err)
		c.now = c.now.Add(step)

	case line != "":
		c.t.Fatalf("This line can't stand here. (A request needs a promise above it; answer, Header "+
			"and log need a request.) %s", c.line)
	}
}

// ask sends the requests that wait, and compares their answers.
func (c *talk) ask(status int, want string) {
	c.answers = nil
	for i, request := range c.requests {
		c.sent = c.asked[i]
		line, times := request[0], 1
		if number := isRequest.FindStringSubmatch(line)[1]; number != "" {
			times, _ = strconv.Atoi(number)
			line = strings.TrimPrefix(line, number+" times ")
		}

		for range times {
			a := c.exchange(line, request[1:])
			wanted := strings.TrimSpace(fmt.Sprint(status, " ", want))
			c.check(a.status == status && matches(a.body, want), a.String(), wanted)
			if !strings.HasPrefix(line, "$ ") {
				c.everyAnswer(&a)
			}
			c.token = cmp.Or(a.token(), c.token)
			c.answers = append(c.answers, a)
		}
	}
	c.requests, c.asked = nil, nil
}

// check ends the conversation with a failure, unless ok.
func (c *talk) check(ok bool, came, want string) {
	if !strings.Contains(want, "eyJ") { // a token says nothing here, and is long
		came = regexp.MustCompile(`eyJ[\w.-]+`).ReplaceAllString(came, "eyJ…")
	}
	if !ok {
		c.t.Fatalf("%s\nsent: %s\ncame: %s\nwant: %s",
			c.promise, c.sent, shorten(came), shorten(want))
	}
}

// exchange sends a request. Or it runs authflow in this process, or another command in the folder
// of the users file.
func (c *talk) exchange(line string, headers []string) answer {
	command, isCommand := strings.CutPrefix(line, "$ ")
	if !isCommand {
		before := len(c.log.String())
		a := c.send(line, headers...)
		a.logBegins = before
		return a
	}

	if secret, args, ok := strings.Cut(" "+command, " authflow"); ok {
		words := strings.Fields("-users " + c.path + args)
		for i := range words {
			words[i] = strings.Trim(words[i], `"`)
		}
		status, stderr := runBriefly(strings.TrimPrefix(secret, " AUTH_SECRET="), words...)
		stderr = strings.TrimSuffix(unquote(stderr), "\n")
		c.check(status == 0 || !strings.Contains(stderr, "\n"), stderr, "one line")
		return answer{status: status, body: stderr, log: stderr}
	}

	if runtime.GOOS == "windows" {
		c.t.Skip("Windows has no sh: the rest of this conversation is left out")
	}
	shell := exec.Command("sh", "-c", command)
	shell.Dir = filepath.Dir(c.path)
	output, _ := shell.CombinedOutput()
	text := strings.TrimSpace(string(output))
	return answer{status: shell.ProcessState.ExitCode(), body: text, log: text}
}

// unquote takes away what slog writes before a quote or a backslash in a quoted text.
func unquote(log string) string {
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(log)
}

// everyAnswer checks what holds for every answer, and for every line of the log about it.
func (c *talk) everyAnswer(a *answer) {
	promise := c.promise
	c.promise = "Each answer but a redirect must be JSON, and protect those who open it in a browser: " +
		"see setHeaders in main.go."
	headers := map[string]string{
		"X-Content-Type-Options": "nosniff",
		"Cache-Control":          "no-store",
	}
	if a.status != 204 && a.status != 307 { // a redirect of the mux has a line of HTML
		headers["Content-Type"] = "application/json"
	}

	for name, want := range headers {
		came := a.header.Get(name)
		cutOff := a.status == 0 || strings.HasSuffix(a.body, "(cut off)")
		c.check(came == want || cutOff, name+": "+came, name+": "+want)
	}

	c.promise = "Without -allow-origin, no page of another origin may read an answer: " +
		"see allowOrigins in main.go."
	allowed := a.header.Get("Access-Control-Allow-Origin")
	c.check(c.origins != nil || allowed == "",
		"Access-Control-Allow-Origin: "+allowed, "no such header")

	// The line of the log comes after the answer.
	await(c.t, "the line of the log about "+c.sent, func() bool {
		a.log = unquote(c.log.String()[a.logBegins:])
		return strings.Contains(a.log, "msg=request ")
	})

	c.promise = "The log must have one plain, short line for each request, " +
		"whatever a client sends: see logRequests in main.go."
	plain := regexp.MustCompile(`^(time=\S+ level=\w+ msg=[ -~µ]{1,900}\n)+$`)
	oneRequest := strings.Count(a.log, "msg=request ") == 1
	c.check(plain.MatchString(a.log) && oneRequest, "in the log\n"+lastLines(a.log), "such lines")

	c.promise = "No password, token, hash or secret may be in the log."
	secrets := []string{
		"plaintextpassword", "wrong-password", "eyJ", "$2a$", strings.Repeat("s", 32)}
	for _, secret := range secrets {
		c.check(!strings.Contains(a.log, secret), "in the log\n"+lastLines(a.log), "not "+secret)
	}
	c.promise = promise
}

// ---- Routes of one's own ----

// TestOwnRoute adds routes. All that the others have comes by itself.
func TestOwnRoute(t *testing.T) {
	s := newService(t)
	notes := func(w http.ResponseWriter, r *http.Request, u *user) error {
		if r.PathValue("id") != "7" {
			return refuse(http.StatusNotFound, "No such note")
		}
		note := map[string]string{"id": r.PathValue("id"), "of": u.Username}
		return writeJSON(w, http.StatusOK, note)
	}
	s.serveWith(t, func(mux *http.ServeMux) {
		for _, method := range []string{"GET", "PUT", "PATCH", "DELETE"} {
			mux.Handle(method+" /own/{id}", s.server.requireUser(notes))
		}
	})

	s.converse(t, `
given enrico
# A route more must be one line in routes: PathValue, errors, 405 and the log come by themselves.
GET /own/7 Bearer $TOKEN
200 {"id":"7","of":"enrico"}
DELETE /own/8
Authorization: Bearer $TOKEN
404 {"detail":"No such note"}
log method=DELETE path=/own/8 status=404
GET /own/7
401 {"detail":"Not authenticated"}
POST /own/7
405 {"detail":"Method Not Allowed"}
Allow: GET, HEAD, PUT, PATCH, DELETE
DELETE /own/7
Sec-Fetch-Site: cross-site
403 {"detail":"Cross-origin request refused"}
`)
}

func TestPanics(t *testing.T) {
	s := newService(t)
	s.server.cost = 40 // bcrypt has no such cost
	s.serveWith(t, func(mux *http.ServeMux) {
		mux.HandleFunc("GET /panic", func(w http.ResponseWriter, r *http.Request) {
			panic("a bug")
		})

		// These two panic after their answer has begun.
		mux.HandleFunc("GET /half", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, strings.Repeat("half", 2000)) // more than net/http holds back
			panic("a late bug")
		})
		mux.HandleFunc("GET /status", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(201)
			w.WriteHeader(202) // too late
			panic("a late bug")
		})
	})

	s.converse(t, `
# A handler that panics must answer 500, and the log must have the cause and the place: see answerPanic in main.go.
GET /panic
500 {"detail":"Internal Server Error"}
log level=ERROR msg="a handler panicked" req=1 cause="a bug"
log level=ERROR msg=stack …auth_test.go:
log method=GET path=/panic status=500
# An answer that has begun must be cut off: nothing may come after it.
GET /half
200 {half*2000} (cut off)
log msg="a handler panicked" …status=200
GET /status
0 no answer: unexpected EOF
log msg=request …status=201
# An error that is no answer must be a 500. Only the log may say what has failed.
POST /auth/signup {"username":"enrico","email":"a@b","password":"plaintextpassword"}
500 {"detail":"Internal Server Error"}
log level=ERROR msg="refused the request" …reason="crypto/bcrypt: cost 40
`)
}

// ---- Tokens ----

// TestRFC7515 signs the example of RFC 7515, appendix A.1. It calls signature itself: the example
// has another header than ours, and the service takes no other one.
func TestRFC7515(t *testing.T) {
	key, err := base64.RawURLEncoding.DecodeString(
		"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	must(t, err)
	const unsigned = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0" +
		"cnVlfQ"

	same(t, "the signature", signature(key, unsigned),
		"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		"The signature must be HMAC-SHA256, as in the RFC.")
}

// TestChangedTokens changes each character of a token. The last one has two bits that mean nothing:
// another character has the same bytes.
func TestChangedTokens(t *testing.T) {
	s := newService(t)
	token := s.given(t, "enrico")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

	for i := range len(token) {
		other := alphabet[(strings.IndexByte(alphabet, token[i])+1)%64]
		changed := token[:i] + string(other) + token[i+1:]
		what := fmt.Sprintf("GET /auth/me, character %d of the token was %c and is %c", i, token[i], other)
		same(t, what, s.send("GET /auth/me Bearer "+changed).status, 401,
			"A token must be refused if one character differs: see verifyToken in auth.go.")
	}
}

// ---- The users file ----

// TestCrash kills the program four times while clients sign up, each time a little later.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users.json")
	for round := range 4 {
		p := start(t, "-cost", "4", "-users", path)

		// Four clients sign up, until the program is gone.
		created := make(chan string, 4000)
		ended := make(chan map[int]int)
		signUpUntilKilled := func(client int) (status int) {
			for i := range 1000 {
				name := fmt.Sprintf("u%d-%d-%d", round, client, i)
				if status = p.send(signupOf(name)).status; status != 201 {
					break
				}
				created <- name
			}
			return status
		}

		go func() { ended <- together(4, signUpUntilKilled) }()
		await(t, "some sign-ups", func() bool { return len(created) > 5+11*round })
		p.kill()
		<-ended

		// The next round starts with this file, so it is whole.
		text := readFile(t, path)
		for range len(created) {
			name := <-created
			check(t, strings.Contains(text, `"`+name+`"`),
				"201 means that the user is on the disk, also after a crash: see save in store.go.",
				"%s was told 201, and after a kill the file doesn't have it", name)
		}
	}
	start(t, "-users", path)
}

// refused is said of a disk that takes no file.
const refused = `
# If the disk takes no file, a sign-up must get 503 and change nothing, and log-ins must go on: see save in store.go.
POST /auth/signup {"username":"anna","email":"a@b","password":"plaintextpassword"}
503 {"detail":"Users cannot be stored just now"}
Retry-After: 5
log reason="…$REASON"
POST /auth/login username=anna&password=plaintextpassword
401 {"detail":"Invalid credentials","error":"invalid_grant"}
POST /auth/login username=enrico&password=plaintextpassword
200 {"message":"Login successful",…
$ ls
0 $FILES
`

// TestFullDisk fills a disk, makes it read-only, and mounts the file itself.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount(t, "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir)
	p := start(t, "-v", "-cost", "4", "-users", filepath.Join(dir, "users.json"))
	p.given(t, "enrico")
	before := readFile(t, p.path)

	// No room.
	filler := filepath.Join(dir, "filler")
	if err := os.WriteFile(filler, make([]byte, 1<<20), 0o600); err == nil {
		t.Fatal("This test could not fill the disk.")
	}
	p.converse(t, refused, "$REASON", "no space left on device", "$FILES", `filler\nusers.json`)
	must(t, os.Remove(filler))

	// No right to write.
	mount(t, "-o", "remount,ro", dir)
	p.converse(t, refused, "$REASON", "read-only file system", "$FILES", "users.json")
	p.converse(t, `
# A folder that can't be written to must be a warning at the start, and the program serves: see tryToWrite in store.go.
$ AUTH_SECRET={s*32} authflow
0 …level=WARN msg="no user can be stored, and sign-ups get 503, until this is mended"…
`)

	// No rename, as in a container with the file itself as a volume.
	mount(t, "-o", "remount,rw", dir)
	mount(t, "--bind", p.path, p.path)
	p.converse(t, refused, "$REASON", "device or resource busy", "$FILES", "users.json")
	same(t, "the users file", readFile(t, p.path), before,
		"A sign-up that fails must change nothing: see save in store.go.")
}

// TestFailingDisk lets one system call of a save fail, or only watches them.
func TestFailingDisk(t *testing.T) {
	for _, row := range []struct{ name, strace, reason, talk string }{
		{"sync of the file", "inject=fsync:error=EIO", "input/output error", refused},
		{"rename", "inject=/^rename:error=EACCES", "permission denied", refused},
		{"sync of the folder", "inject=fsync:error=EIO:when=2", "", `
# After the rename, the user is stored: the sync of the folder is best effort. See save in store.go.
POST /auth/signup {"username":"anna","email":"a@b","password":"plaintextpassword"}
201 {"message":"User created","user_id":2}
POST /auth/login username=anna&password=plaintextpassword
200 {"message":"Login successful","user_id":2,…
`},
		{"reading", "inject=openat:error=EACCES", "", `
# A users file that can't be read is a fault, which the log names once: see reload in store.go.
edit true -> false
POST /auth/login username=enrico&password=plaintextpassword
200 …
log level=ERROR msg="the users file has a fault…permission denied…
POST /auth/login username=enrico&password=plaintextpassword
200 …
no log ERROR
`},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := start(t, "-v", "-cost", "4")
			p.given(t, "enrico")
			stop := strace(t, p, os.DevNull, "-e", row.strace)
			p.converse(t, row.talk, "$REASON", row.reason, "$FILES", "users.json")
			stop()
			p.converse(t, `
# After an error of the disk, all must go on, though the file's stamp is the same: see save and readUsers in store.go.
POST /auth/signup {"username":"carla","email":"a@b","password":"plaintextpassword"}
201 …
`)
		})
	}
}

// TestSystemCalls watches the system calls of a save, and of look-ups while the file has a fault.
func TestSystemCalls(t *testing.T) {
	p := start(t, "-v", "-cost", "4")
	p.given(t, "enrico")
	list := filepath.Join(t.TempDir(), "calls")
	stop := strace(t, p, list, "-y", "-e", "trace=/^(open.*|fsync|rename.*|.*chmod.*|.*utime.*)$")
	const durable = "201 means that the user is on the disk: a save must make a new file, sync it, " +
		"rename it, and sync the folder: see writeNew and save in store.go."
	same(t, "the answer to a sign-up", p.send(signupOf("anna")).status, 201, durable)
	calls := readFile(t, list)

	// Each fsync shows what it syncs: fsync(7</tmp/x>).
	folder := regexp.QuoteMeta(filepath.Dir(p.path))
	order := regexp.MustCompile(`(?s)/users\.json\.authflow-new", O_WRONLY\|O_CREAT\|O_EXCL.*, 0600\)` +
		`.*fsync\(\d+<` + folder + `/users\.json\.authflow-new>\)` +
		`.*rename.*/users\.json".*fsync\(\d+<` + folder + `>\)`)
	check(t, order.MatchString(calls), durable,
		"the system calls were\n%s\nwant open of users.json.authflow-new, fsync, rename, fsync of the folder",
		calls)
	check(t, !strings.Contains(calls, "chmod") && !strings.Contains(calls, "utime"),
		"A save must not need chmod or a change of times: some mounts refuse them.",
		"the system calls were\n%s\nwant neither", calls)

	// A save is not read again, and an edit is read by the first look-up after it.
	p.converse(t, `
# A file with a fault must be read once, and log-ins go on with the last good users: see look in store.go.
edit enrico -> anna
3 times POST /auth/login username=anna&password=plaintextpassword
200 …
3 times POST /auth/signup {"username":"carla","email":"a@b","password":"plaintextpassword"}
503 …
`)
	stop()
	calls = readFile(t, list)
	same(t, "how often the file was opened\n"+calls, strings.Count(calls, `/users.json", O_RDONLY`), 1,
		"An edit must be read once, also if it has a fault, and not at each request: see look in store.go.")
}

// TestSlowDisk lets each sync and the rename take 0.3 s. Only the sign-up waits for them.
func TestSlowDisk(t *testing.T) {
	t.Parallel()
	p := start(t, "-cost", "4")
	token := p.given(t, "enrico")
	list := filepath.Join(t.TempDir(), "calls")
	stop := strace(t, p, list,
		"-e", "trace=fsync,/^rename", "-e", "inject=fsync,/^rename:delay_enter=300000")
	defer stop()
	signedUp := make(chan answer, 1)
	go func() { signedUp <- p.send(signupOf("anna")) }()

	// The new file syncs, it is renamed, the folder syncs. The list has a system call when it
	// begins, and its result when it ends.
	for ended := range 3 {
		results := func() int { return strings.Count(readFile(t, list), " = ") }
		await(t, "the next system call", func() bool {
			begun := regexp.MustCompile(`(fsync|rename\w*)\(`).FindAllString(readFile(t, list), -1)
			return results() == ended && len(begun) == ended+1 || len(signedUp) > 0
		})
		same(t, "GET /auth/me", p.send("GET /auth/me Bearer "+token).status, 200,
			"A look-up must work during a save.")
		same(t, "system calls that had ended when the look-up was answered", results(), ended,
			"A look-up must never wait for the disk: see store in store.go.")
	}
	same(t, "the answer to the sign-up", (<-signedUp).status, 201,
		"A slow disk must store all the same.")
}

// TestEditDuringSave edits the file while a save waits for the disk.
func TestEditDuringSave(t *testing.T) {
	const edited = "somebody edited the users file at the same moment"
	for _, row := range []struct{ name, old, new, reason string }{
		{"a good edit", "enrico@", "edited@", edited},
		{"an edit with a fault", "is_active", "is_actave\xff", edited},
		{"the save of another authflow", "", "", "another program has changed "},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := start(t, "-v", "-cost", "4")
			p.given(t, "enrico")

			// While the new file syncs, which takes 0.3 s, there is time for the edit.
			stop := strace(t, p, os.DevNull, "-e", "inject=fsync:delay_enter=300000")
			signedUp := make(chan answer, 1)
			go func() { signedUp <- p.send(signupOf("anna")) }()
			newFile := p.path + ".authflow-new"
			await(t, "the new file", func() bool { return exists(newFile) || len(signedUp) > 0 })

			// An authflow that starts removes the new file. Then it may write its own.
			others := row.old == ""
			if others {
				must(t, os.Remove(newFile))
				writeFile(t, newFile, "[\n{half of")
			} else {
				edit(t, p.path, row.old, row.new)
			}
			text := readFile(t, p.path)

			const promise = "An edit during a save must stay, and the sign-up must get 503: " +
				"see replace in store.go."
			same(t, "the answer to the sign-up", (<-signedUp).String(),
				`503 {"detail":"Users cannot be stored just now"}`, promise)
			stop()
			same(t, "the users file", readFile(t, p.path), text, promise)
			same(t, "the new file is there", exists(newFile), others, promise)
			check(t, strings.Contains(p.log.String(), row.reason), promise,
				"the log is\n%s\nwant %s", p.log, row.reason)
		})
	}
}

func TestTwoProcesses(t *testing.T) {
	p := start(t, "-cost", "4")
	q := start(t, "-cost", "4", "-users", p.path)
	statuses := together(8, func(client int) int {
		created := 0
		for i := range 25 {
			program, name := []*program{p, q}[client%2], fmt.Sprintf("u%d-%d", client, i)
			if program.send(signupOf(name)).status == 201 {
				created++
			}
		}
		return created
	})

	created := 0
	for n, clients := range statuses {
		created += n * clients
	}
	ids := map[int64]bool{}
	var users []user
	must(t, json.Unmarshal([]byte(readFile(t, p.path)), &users))
	for _, u := range users {
		ids[u.ID] = true
	}
	check(t, created > 0 && len(users) == created && len(ids) == created,
		"Two programs must not corrupt the users file, or lose each other's users: "+
			"see writeNew in store.go.",
		"%d users were told 201, and the file has %d with %d ids", created, len(users), len(ids))
}

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "real.json"), "[]")
	must(t, os.Mkdir(filepath.Join(dir, "etc"), 0o700))
	for _, link := range [][]string{{"etc/link", "link"}, {"../real.json", "etc/link"}} {
		if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
			t.Skip("needs links: ", err)
		}
	}
	newService(t, "-users", filepath.Join(dir, "link")).converse(t, `
# A link must be followed, and not replaced: see openStore in store.go.
POST /auth/signup {"username":"enrico","email":"a@b","password":"plaintextpassword"}
201 {"message":"User created","user_id":1}
$ readlink link && grep -c enrico real.json
0 etc/link\n1
`)
}

// TestExample logs in with the example of a users file.
func TestExample(t *testing.T) {
	s := newService(t)
	edit(t, s.path, "", readFile(t, "users.json.example"))
	s.converse(t, `
# The example must be a users file, in which enrico may log in, and anna is disabled.
POST /auth/login username=enrico&password=plaintextpassword
200 …
POST /auth/login username=anna&password=plaintextpassword
401 …
log reason="disabled user"
`)
}

// ---- At the same time ----

// TestBeside looks a user up, beside sign-ups and edits. With go test -race, it fails if a look-up
// takes no lock. It calls the store itself: a network puts requests into an order, and so it hides
// such mistakes.
func TestBeside(t *testing.T) {
	const promise = "Look-ups, sign-ups and edits at the same time must not disturb each other: " +
		"see look in store.go."

	// The race detector reports hundreds of races. So a process of its own ends at the first one.
	if os.Getenv("GORACE") == "" {
		again := exec.Command(os.Args[0], "-test.run", "^TestBeside$")
		again.Env = append(os.Environ(), "GORACE=halt_on_error=1")
		out, err := again.CombinedOutput()
		report, _, _ := strings.Cut(string(out), "\nGoroutine") // where these began says little
		check(t, err == nil, promise, "%s", report)
		return
	}
	st := newService(t).server.store
	edit(t, st.path, "", usersFile(hashOfGiven, "enrico"))

	ended := make(chan bool)
	go func() {
		defer close(ended)
		for i := range 60 { // an edit may come between
			name := fmt.Sprint("user", i)
			st.create(user{Username: name, Email: "a@b", HashedPassword: hashOfGiven})
		}
	}()

	// Two others look enrico up. At times one sets the file's time, which is an edit.
	together(2, func(client int) int {
		for i := 0; ; i++ {
			users, _ := st.look()
			enrico := users.named("enrico")
			check(t, enrico != nil && enrico == users.byID[1], promise, "enrico is not there")
			if client == 0 && i%50 == 0 {
				now := time.Now().Add(time.Duration(i) * time.Second)
				os.Chtimes(st.path, now, now)
			}

			select {
			case <-ended:
				return 0
			default:
			}
		}
	})
}

// TestTogether sends forty requests at the same moment. No more get through than one by one.
func TestTogether(t *testing.T) {
	s := newService(t)
	statuses := func(line func(i int) string) string {
		return fmt.Sprint(together(40, func(i int) int { return s.send(line(i)).status }))
	}

	answers := statuses(func(i int) string { return signupOf(fmt.Sprint("user", i)) })
	same(t, "the answers to 40 sign-ups", answers, "map[201:40]",
		"Sign-ups at the same moment must wait for each other: see create in store.go.")
	spellings := []string{"enrico", "Enrico", "ENRICO", "enRICO"}
	answers = statuses(func(i int) string { return signupOf(spellings[i%4]) })
	same(t, "the answers to 40 sign-ups of enrico", answers, "map[201:1 400:39]",
		"Of many sign-ups with one name, one must succeed: see create in store.go.")

	for _, row := range []struct{ password, want string }{
		{"plaintextpassword", "map[200:40]"},
		{"wrong-password", "map[401:10 429:30]"},
		{"plaintextpassword", "map[429:40]"},
	} {
		answers = statuses(func(int) string { return loginOf("enrico", row.password) })
		same(t, "the answers to 40 log-ins with "+row.password, answers, row.want,
			"Of guesses at the same moment, no more than ten may get a result: "+
				"see count in auth.go.")
	}
}

// TestLine takes all slots for bcrypt. A hundred log-ins wait, and the next one is refused at once.
func TestLine(t *testing.T) {
	s := newService(t)
	token, line := s.given(t, "enrico"), s.server.hashing
	same(t, "slots", cap(line.slots), processors, "bcrypt must have a slot for each processor.")
	for range cap(line.slots) {
		line.slots <- struct{}{}
	}

	// A hundred come.
	var waiting []net.Conn
	for range 100 {
		conn, err := s.begin(loginOf("enrico", "wrong-password"))
		must(t, err)
		waiting = append(waiting, conn)
	}
	await(t, "a hundred log-ins", func() bool {
		return line.waiting.Load() == 100 || strings.Contains(s.log.String(), "status=401")
	})

	// One more comes, and one that needs no slot.
	before := len(s.log.String())
	s.converse(t, `
# At most 100 requests may wait for bcrypt. The next one must get 503, and others be served: see acquire in auth.go.
POST /auth/login username=enrico&password=plaintextpassword
503 {"detail":"Too busy just now"}
Retry-After: 5
GET /auth/me Bearer $TOKEN
200 …
`, "$TOKEN", token)

	// All hang up.
	for _, conn := range waiting {
		conn.Close()
	}
	await(t, "a hundred lines of the log", func() bool {
		return strings.Count(s.log.String()[before:], "path=/auth/login") == 101
	})
	const promise = "A client that hangs up must leave the line, and is no error for the log: " +
		"see acquire in auth.go."
	same(t, "log-ins in the line", line.waiting.Load(), 0, promise)
	log := s.log.String()[before:]
	same(t, "errors in the log", strings.Count(log, "level=ERROR"), 1, promise)
	same(t, "requests with 400", strings.Count(log, "path=/auth/login status=400"), 100, promise)

	// Now the slots are free.
	for range cap(line.slots) {
		<-line.slots
	}
	same(t, "the next log-in", s.send(loginOf("enrico", "plaintextpassword")).status, 200, promise)
}

func TestGuessesInLine(t *testing.T) {
	s := newService(t)
	s.given(t, "enrico", "anna")
	line := s.server.hashing
	for range cap(line.slots) {
		line.slots <- struct{}{}
	}

	// While anna waits, she is disabled.
	annas := make(chan answer)
	go func() { annas <- s.send(loginOf("anna", "plaintextpassword")) }()
	await(t, "a log-in in the line", func() bool { return line.waiting.Load() == 1 })
	edit(t, s.path, "true}\n]", "false}\n]")
	<-line.slots
	same(t, "the answer to anna", (<-annas).status, 401,
		"A user who is disabled while a log-in waits must get no token: see authenticate in auth.go.")
	line.slots <- struct{}{}

	// Guesses come one after the other, the right one at last.
	answers := make(chan answer, 21)
	for i := range 21 {
		password := "wrong-password"
		if i == 20 {
			password = "plaintextpassword"
		}
		go func() { answers <- s.send(loginOf("enrico", password)) }()
		await(t, "a log-in in the line", func() bool {
			return line.waiting.Load() == int64(i+1) || len(answers) > 0
		})
	}

	// One slot becomes free. They get it one by one, in their order.
	<-line.slots
	statuses := map[int]int{}
	for range 21 {
		statuses[(<-answers).status]++
	}
	same(t, "the answers", fmt.Sprint(statuses), "map[401:10 429:11]",
		"A guess that waited while ten others failed must get no result, even if it is right: "+
			"see count in auth.go.")
	for range cap(line.slots) - 1 {
		<-line.slots
	}
}

// TestPatience waits in the line by synctest's clock, so it calls the handler without a network.
func TestPatience(t *testing.T) {
	users := newService(t).server.store
	synctest.Test(t, func(t *testing.T) {
		s := newServer(users, nil, time.Hour, 4)
		for range cap(s.hashing.slots) {
			s.hashing.slots <- struct{}{}
		}

		// The request waits as long as it may.
		w, began := httptest.NewRecorder(), time.Now()
		r := httptest.NewRequest("POST", "/auth/login", strings.NewReader("username=x&password=x"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		newHandler(s, nil, discard).ServeHTTP(w, r)

		const promise = "A request may wait 15 s in the line, then it must get 503: " +
			"see acquire in auth.go."
		same(t, "the answer", w.Body.String(), `{"detail":"Too busy just now"}`, promise)
		same(t, "the wait", time.Since(began), 15*time.Second, promise)
	})
}

// TestThrottleMemory fails for more names than the throttle remembers. It calls count: so
// many log-ins would take long.
func TestThrottleMemory(t *testing.T) {
	throttle, most := newService(t).server.throttle, 0
	for i := range 10_100 {
		throttle.count(newThrottleKey(fmt.Sprint(i), "192.0.2.1:1"), false, time.Now())
		most = max(most, len(throttle.counts))
	}
	same(t, "the most pairs that were remembered", most, 10_000,
		"The throttle must remember at most 10,000 pairs: see throttle in auth.go.")
}

// ---- The program ----

// TestArrives starts the program with other values than its own. Each must arrive where it counts.
func TestArrives(t *testing.T) {
	p := start(t, "-v", "-cost", "5", "-token-ttl", "90s", "-allow-origin", "http://a.b",
		"AUTH_SECRET="+strings.Repeat("s", 32))
	p.origins = []string{"http://a.b"}
	p.converse(t, `
# Each flag must do what -h says: see serve in main.go.
POST /auth/signup {"username":"enrico","email":"a@b","password":"plaintextpassword"}
Origin: http://a.b
201 …
Access-Control-Allow-Origin: http://a.b
file …"$2a$05$…
POST /auth/login username=enrico&password=plaintextpassword
200 …"expires_in":90}
# Who has the secret can check the signature.
GET /auth/me Bearer $HEADER.$PAYLOAD.hmac({s*32})
200 …
`)

	var c struct{ Iat int64 }
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(p.logIn(t, "enrico"), ".")[1])
	must(t, json.Unmarshal(payload, &c))
	check(t, time.Since(time.Unix(c.Iat, 0)).Abs() < time.Minute,
		"A token must be issued now: see newServer in auth.go.", "iat is %d", c.Iat)

	// Without a secret, nobody can.
	p = start(t, "-v", "-cost", "4")
	p.converse(t, `
# Without AUTH_SECRET, each start must have a key that nobody can guess: see serve in main.go.
given enrico
GET /auth/me Bearer $HEADER.$PAYLOAD.hmac()
401 …
`)
	token := p.logIn(t, "enrico")
	p.kill()
	p = start(t, "-users", p.path)
	same(t, "the token of the last start", p.send("GET /auth/me Bearer "+token).status, 401,
		"Without AUTH_SECRET, each start must have another key: see serve in main.go.")
	runBriefly("", "-users", p.path)
	same(t, "Go's threads", runtime.GOMAXPROCS(0), processors+1,
		"Go must use one thread more than bcrypt has slots, so that other requests don't wait: "+
			"see serve in main.go.")
	same(t, "the exit status of authflow -cost 3", launch(t, "-cost", "3").exit(t), 2,
		"The status that run returns must be the program's exit status: see main in main.go.")
}

// TestAddresses listens on all addresses, and opens those that the log names.
func TestAddresses(t *testing.T) {
	p := start(t, "-addr", "0.0.0.0:0")
	for _, found := range listening.FindAllStringSubmatch(p.log.String(), -1) {
		p.host = found[2]
		const promise = "Each address in the log must work: see hosts in main.go."
		same(t, "GET /healthz of "+p.host, p.send("GET /healthz").status, 200, promise)
		unspecified := strings.HasPrefix(p.host, "0.0.0.0:") || strings.HasPrefix(p.host, "[::]:")
		check(t, !unspecified, promise, "%s is no address to open", p.host)
	}

	// A class opens the address of the teacher's machine.
	addrs, _ := net.InterfaceAddrs()
	for _, addr := range addrs {
		if ip := addr.(*net.IPNet).IP.To4(); ip != nil && !ip.IsLoopback() {
			check(t, strings.Contains(p.log.String(), "url=http://"+ip.String()+":"),
				"The log must have each IPv4 address of the machine: see hosts in main.go.",
				"it is\n%s\nwant %s", p.log, ip)
		}
	}
}

// TestTLS serves HTTPS, with a certificate of httptest. Certificate and key are in two files.
func TestTLS(t *testing.T) {
	other := httptest.NewTLSServer(nil)
	defer other.Close()
	cert := other.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	must(t, err)
	certFile := filepath.Join(t.TempDir(), "cert.pem")
	keyFile := filepath.Join(t.TempDir(), "key.pem")
	certBlock := pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}
	writeFile(t, certFile, string(pem.EncodeToMemory(&certBlock)))
	writeFile(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))

	p := start(t, "-v", "-cost", "4", "-addr", "0.0.0.0:0",
		"-tls-cert", certFile, "-tls-key", keyFile)
	p.converse(t, `
# With a certificate and its key, the service must speak TLS: see listen in main.go.
GET /healthz
200 {"status":"ok"}
`)
	log := p.log.String()
	check(t, strings.Contains(log, "url=https://127.0.0.1:") && !strings.Contains(log, "unencrypted"),
		"With TLS, the addresses must begin with https, and nothing is unencrypted.",
		"the log is\n%s", log)

	// What net/http refuses itself.
	p.tls = false
	p.send("GET /healthz")
	await(t, "a TLS handshake error in the log: see newHTTPServer in main.go", func() bool {
		return strings.Contains(p.log.String(), `level=WARN msg="http: TLS handshake error`)
	})
}

// TestSignal sends a signal while a request is on its way.
func TestSignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no signals")
	}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			// "100 Continue" says that the request has begun.
			p := start(t, "-cost", "4")
			conn, err := p.begin("POST /auth/login ", "Content-Length: 21", "Expect: 100-continue")
			must(t, err)
			reader := bufio.NewReader(conn)
			if line, err := reader.ReadString('\n'); !strings.Contains(line, "100 Continue") {
				t.Fatalf("The service answered %q (%v), want 100 Continue.", line, err)
			}

			// The body comes after the signal.
			must(t, p.cmd.Process.Signal(signal))
			await(t, "msg=stopping in the log", func() bool {
				return strings.Contains(p.log.String(), "msg=stopping")
			})

			const promise = "After a signal, a request that has begun must be answered, and the exit " +
				"status is 0: see serveUntil in main.go."
			io.WriteString(conn, "username=x&password=x")
			rest, _ := io.ReadAll(reader)
			check(t, strings.Contains(string(rest), "Invalid credentials"), promise,
				"the answer after the signal is\n%s", rest)
			same(t, "the exit status", p.exit(t), 0, promise)
			check(t, !strings.Contains(p.log.String(), "stopped before"), promise,
				"the log is\n%s", p.log)
		})
	}
}

// TestStopEnds stops beside a request that has no end. It calls serveUntil, by synctest's clock.
func TestStopEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A connection without a network: while one waits for a network, the clock stands still.
		ours, theirs := net.Pipe()
		connections := make(pipeListener, 1)
		connections <- theirs

		entered, endless := make(chan bool), make(chan bool)
		srv := newHTTPServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			entered <- true
			<-endless
		}), discard)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- serveUntil(ctx, srv, connections, discard) }()

		io.WriteString(ours, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		<-entered
		stop()
		began := time.Now()
		must(t, <-ended)
		same(t, "the time to stop", time.Since(began), 5*time.Second,
			"A stop must wait 5 s at most for requests that have begun: see serveUntil in main.go.")
		close(endless)
		ours.Close()
	})
}

// A pipeListener accepts the connections that it is given.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	if conn, ok := <-l; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l pipeListener) Close() error   { close(l); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// TestLimits looks at the limits of the HTTP server. It doesn't wait for them: they are up to a
// minute long, and net/http keeps them.
func TestLimits(t *testing.T) {
	srv := newHTTPServer(nil, discard)
	same(t, "the limits of headers, request, answer and the pause between two requests",
		fmt.Sprint(srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout),
		"5s 10s 1m0s 1m0s",
		"No client may hold a connection for ever: see newHTTPServer in main.go.")
	same(t, "the limit of headers", srv.MaxHeaderBytes, 16<<10,
		"Headers must not be larger than 16 KiB: see newHTTPServer in main.go.")
}

// ---- The documents and the sources ----

// TestREADME runs the README's sh blocks, one after the other. The json blocks are their output, and
// the text block is what -v logs.
func TestREADME(t *testing.T) {
	readme := readFile(t, "README.md")
	_, manual := runBriefly("", "-h")
	for _, flag := range regexp.MustCompile(`(?m)^  (-[a-z-]+)`).FindAllStringSubmatch(manual, -1) {
		found := regexp.MustCompile(`[\[ ]` + flag[1] + `[ \]]`).MatchString(readme)
		check(t, found, "The README must have each flag.", "it doesn't have %s", flag[1])
	}

	// One script of all sh blocks. Where a json block comes, it prints a mark.
	need(t, "curl")
	p := start(t, "-v")
	script, want := "", ""
	blocks := regexp.MustCompile("(?s)\n```(sh|json)\n(.*?)```")
	for _, block := range blocks.FindAllStringSubmatch(readme, -1) {
		if block[1] == "json" {
			script += "echo ====\n"
			want += block[2] + "====\n"
		} else {
			script += block[2]
		}
	}

	script = strings.ReplaceAll(script, "127.0.0.1:8000", p.host)
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
	steps := regexp.MustCompile("(?s)\n```text\n(.*?)```").FindStringSubmatch(readme)
	if steps == nil {
		t.Fatal("The README must show in a text block what -v logs.")
	}
	volatile := regexp.MustCompile(`time=\S+ |took=\S+|addr=\S+`)
	_, log, _ := strings.Cut(p.log.String(), "users="+p.path+"\n")
	log, shown := volatile.ReplaceAllString(log, ""), volatile.ReplaceAllString(steps[1], "")
	check(t, strings.HasPrefix(log, shown), "The README must show what -v logs.",
		"-v logs\n%s\nwant that it begins as the README says:\n%s", lastLines(log), shown)
}

// TestOpenAPI compares the OpenAPI document with the routes.
func TestOpenAPI(t *testing.T) {
	s := newService(t)
	var document struct{ Paths map[string]map[string]any }
	must(t, json.Unmarshal([]byte(s.send("GET /openapi.json").body), &document))
	var documented []string
	mux := routes(s.server)
	for path, methods := range document.Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			documented = append(documented, method+" "+path)
			_, pattern := mux.Handler(httptest.NewRequest(method, path, nil))
			same(t, "the route of "+method+" "+path, pattern, method+" "+path,
				"What is documented must have a route: see routes in main.go.")
		}
	}

	for _, request := range []string{
		"POST /auth/signup", "POST /auth/login", "GET /auth/me", "GET /healthz",
	} {
		check(t, slices.Contains(documented, request),
			"The OpenAPI document must have each request of the API.",
			"it has %q\nwant %q too", documented, request)
	}
	s.converse(t, `
# The OpenAPI document must be JSON.
GET /openapi.json
200 …
`)
}

// TestPage looks at the page without a browser. .ci/ opens it in one.
func TestPage(t *testing.T) {
	s := newService(t)
	page := s.send("GET /docs")
	digest := func(element string) string {
		pattern := regexp.MustCompile(`(?s)<` + element + `>(.*?)</` + element + `>`)
		parts := pattern.FindAllStringSubmatch(page.body, -1)
		if len(parts) != 1 {
			t.Fatalf("The page must have one <%s>: the policy names one digest. It has %d.",
				element, len(parts))
		}
		sum := sha256.Sum256([]byte(parts[0][1]))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}

	same(t, "the policy", page.header.Get("Content-Security-Policy"),
		"default-src 'none'; script-src "+digest("script")+"; style-src "+digest("style")+
			"; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "+
			"frame-ancestors 'none'",
		"Only the page's own script and style may run: see docsPolicy in main.go.")
	same(t, "the type", page.header.Get("Content-Type"), "text/html; charset=utf-8",
		"The page must be HTML: see docs in main.go.")
	same(t, "Cache-Control", page.header.Get("Cache-Control"), "no-store", "No answer may be kept.")

	forbidden := regexp.MustCompile(`https?:|//cdn|innerHTML|insertAdjacentHTML|document\.write|` +
		`eval\(| on\w+=|localStorage`)
	same(t, "what the page must not have", forbidden.FindString(page.body), "",
		"Nothing may come from another host, become markup, or be stored.")
	size := len(page.body) + len(s.send("GET /openapi.json").body)
	check(t, size <= 30_720, "The page and the OpenAPI document must be small enough to read.",
		"they have %d bytes, want at most 30,720", size)
}

func TestSources(t *testing.T) {
	const notStandard = "{{if not .Standard}}{{.ImportPath}}{{end}}"
	list := exec.Command(need(t, "go"), "list", "-deps", "-f", notStandard, ".")
	out, err := list.Output()
	must(t, err)
	same(t, "the packages", strings.Join(strings.Fields(string(out)), " "),
		"golang.org/x/crypto/blowfish golang.org/x/crypto/bcrypt authflow",
		"The program must need the standard library and bcrypt, and no other package.")

	// The failures send a reader to "verifyToken in auth.go". A long text goes on in the next line.
	nextLine := regexp.MustCompile(`" ?\+\n\s*"|\n# `)
	tests := nextLine.ReplaceAllString(readFile(t, "auth_test.go"), " ")
	hints := regexp.MustCompile(`[Ss]ee (\w+)(?: and (\w+))? +in (\w+\.go)`)
	for _, hint := range hints.FindAllStringSubmatch(tests, -1) {
		for _, name := range hint[1:3] { // the second one may be ""
			declared := regexp.MustCompile(`(?m)^(func|type|var) (\(.*?\) )?` + name + `\b`)
			check(t, declared.MatchString(readFile(t, hint[3])),
				"A failure must say where to look.",
				"a test says %q, and %s has no %s", hint[0], hint[3], name)
		}
	}

	// The texts of the log, and its reasons.
	program, _, _ := strings.Cut(readFile(t, "main.go"), "const docsPage")
	sources := program + readFile(t, "auth.go") + readFile(t, "store.go")
	texts := regexp.MustCompile(`(?:\.(?:Debug|Info|Warn|Error)|because|errors\.New)\(\s*"(.*?)"`)
	for _, text := range texts.FindAllStringSubmatch(sources, -1) {
		same(t, "how often the sources have "+text[1], strings.Count(sources, `"`+text[1]+`"`), 1,
			"Each text of the log must stand once in the sources, so that a search finds its place.")
	}
}

// ---- Benchmarks: the figures of the README ----

// BenchmarkClass lets 40 students sign up at the same moment, and then log in.
func BenchmarkClass(b *testing.B) {
	var signedUp, loggedIn int
	for b.Loop() {
		p := start(b)
		student := func(i int) string { return fmt.Sprint("student", i) }
		signUp := func(i int) int { return p.send(signupOf(student(i))).status }
		logIn := func(i int) int { return p.send(loginOf(student(i), "plaintextpassword")).status }
		signedUp += together(40, signUp)[201]
		loggedIn += together(40, logIn)[200]
	}
	b.ReportMetric(float64(signedUp)/float64(b.N), "signups-of-40")
	b.ReportMetric(float64(loggedIn)/float64(b.N), "logins-of-40")
}

// BenchmarkLogin compares 32 clients that log in with bcrypt alone. Beside them, it asks who am I.
func BenchmarkLogin(b *testing.B) {
	p := start(b)
	p.send(signupOf("enrico"))
	token := p.logIn(b, "enrico")
	password := []byte("plaintextpassword")
	hash, _ := bcrypt.GenerateFromPassword(password, 12)
	var bcryptAlone, logins float64
	logIn := func() { p.logIn(b, "enrico") }
	for b.Loop() {
		bcryptAlone += perSecond(processors, func() { bcrypt.CompareHashAndPassword(hash, password) })
		logins += perSecond(32, logIn)
		beside := make(chan bool)
		go func() { perSecond(32, logIn); close(beside) }()
		reportMe(b, p, token)
		<-beside
	}
	b.ReportMetric(logins/bcryptAlone, "login/bcrypt")
}

// BenchmarkManyUsers compares a sign-up beside 100,000 users with one beside none.
func BenchmarkManyUsers(b *testing.B) {
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprint("user", i)
	}
	few, many := start(b), start(b)
	edit(b, many.path, "", usersFile(hashOfGiven, names...))
	many.logIn(b, "user1") // reads the file

	var tookFew, tookMany time.Duration
	for b.Loop() {
		for range 10 {
			signup, began := signupOf(fmt.Sprint("new", time.Now().UnixNano())), time.Now()
			few.send(signup)
			between := time.Now()
			many.send(signup)
			tookFew += between.Sub(began)
			tookMany += time.Since(between)
		}
	}
	b.ReportMetric(float64(tookMany)/float64(tookFew), "many/none")
}

// A turn is how long each thing is measured. Machines differ and are shared, so most figures are
// ratios of two things that are measured in turn.
const turn = 4 * time.Second

// perSecond returns how often n clients together can call f in a second.
func perSecond(n int, f func()) float64 {
	var count atomic.Int64
	began := time.Now()
	together(n, func(int) int {
		for time.Since(began) < turn {
			f()
			count.Add(1)
		}
		return 0
	})
	return float64(count.Load()) / time.Since(began).Seconds()
}

// reportMe reports the median and the 99th percentile of the time of GET /auth/me. It keeps its
// connection.
func reportMe(b *testing.B, p *program, token string) {
	request, _ := http.NewRequest("GET", "http://"+p.host+"/auth/me", nil)
	request.Header.Set("Authorization", "Bearer "+token)
	var took []float64
	for began := time.Now(); time.Since(began) < turn; {
		before := time.Now()
		resp, err := http.DefaultClient.Do(request)
		must(b, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		took = append(took, float64(time.Since(before).Microseconds())/1000)
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2], "me-p50-ms")
	b.ReportMetric(took[len(took)*99/100], "me-p99-ms")
}

// ---- Helpers ----

// TestMain lets the test binary be authflow itself.
func TestMain(m *testing.M) {
	if os.Getenv("AUTHFLOW_RUN") != "" {
		go func() { // if the tests are killed, this pipe ends, and so do we
			io.Copy(io.Discard, os.Stdin)
			os.Exit(3)
		}()
		main()
	}
	os.Exit(m.Run())
}

var (
	discard   = slog.New(slog.DiscardHandler)
	listening = regexp.MustCompile(`msg=listening url=(https?)://(\S+)`)
)

// A service is authflow in this process, or as a program.
type service struct {
	host    string // 127.0.0.1:51234
	tls     bool
	path    string // of the users file
	log     *output
	origins []string // of -allow-origin

	// In this process:
	server *server
	now    time.Time
	from   string // if it is set, every request seems to come from this address
}

// newService starts a service in this process, with the flags of the program, bcrypt's lowest cost,
// -v, and a clock that stands still.
func newService(t testing.TB, flags ...string) *service {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.json")
	flags = append([]string{"-v", "-cost", "4", "-users", path}, flags...)
	c := config{}
	must(t, c.newFlags().Parse(flags))
	log := &output{}
	logger := newLogger(log, c.verbose)
	users, err := openStore(c.users, logger)
	if err != nil {
		t.Fatalf("The service must start, also without a users file: see openStore in store.go.\n%v", err)
	}

	s := &service{path: c.users, log: log, origins: c.origins}
	s.now = time.Unix(1_800_000_000, 999_000_000)
	s.server = newServer(users, []byte(strings.Repeat("s", 32)), c.tokenTTL, c.cost)
	s.server.now = func() time.Time { return s.now }
	s.serve(t, newHandler(s.server, c.origins, logger))
	t.Cleanup(func() { // after the last answer
		same(t, "slots that are still taken", len(s.server.hashing.slots), 0,
			"Who is done must give the slot back, after an error too: see acquire in auth.go.")
	})
	return s
}

// serveWith serves with more routes. The chain is that of newHandler. (A program that grows adds
// them to routes.)
func (s *service) serveWith(t *testing.T, add func(mux *http.ServeMux)) {
	mux := routes(s.server)
	add(mux)
	s.serve(t, logRequests(newLogger(s.log, true), setHeaders(
		allowOrigins(nil, refuseOtherOrigins(nil, mux)))))
}

// serve serves a handler with the limits of the program.
func (s *service) serve(t testing.TB, handler http.Handler) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.host = listener.Addr().String()
	srv := newHTTPServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.RemoteAddr = cmp.Or(s.from, r.RemoteAddr)
		handler.ServeHTTP(w, r)
	}), discard)
	go srv.Serve(listener)
	t.Cleanup(func() { srv.Close() })
}

// A program is authflow as a process.
type program struct {
	service
	cmd   *exec.Cmd
	ended chan struct{}
}

// start runs authflow on a free port, and waits until it listens. AUTH_SECRET=… may be an argument.
func start(t testing.TB, args ...string) *program {
	t.Helper()
	p := launch(t, args...)
	await(t, "the start of authflow "+strings.Join(args, " "), func() bool {
		select {
		case <-p.ended:
			t.Fatalf("authflow %s must serve, and ended at once:\n%s", strings.Join(args, " "), p.log)
		default:
		}
		return listening.MatchString(p.log.String())
	})
	found := listening.FindStringSubmatch(p.log.String())
	p.tls, p.host = found[1] == "https", found[2]
	return p
}

// launch runs authflow, and doesn't wait.
func launch(t testing.TB, args ...string) *program {
	t.Helper()
	p := &program{ended: make(chan struct{})}
	p.path, p.log = filepath.Join(t.TempDir(), "users.json"), &output{}
	p.cmd = exec.Command(os.Args[0], "-addr", "127.0.0.1:0", "-users", p.path)
	p.cmd.Env = append(os.Environ(), "AUTHFLOW_RUN=1", "AUTH_SECRET=")
	for i, arg := range args {
		if strings.HasPrefix(arg, "AUTH_SECRET=") {
			p.cmd.Env = append(p.cmd.Env, arg) // of two with one name, the last one counts
			continue
		}
		p.cmd.Args = append(p.cmd.Args, arg)
		if arg == "-users" {
			p.path = args[i+1]
		}
	}

	p.cmd.Stderr = p.log
	_, err := p.cmd.StdinPipe() // see TestMain
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
		t.Fatalf("authflow must end, and still runs after 30 s. Its log is\n%s", p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the program as a power cut would.
func (p *program) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// runBriefly runs authflow in this process, and stops it as soon as it serves.
func runBriefly(secret string, args ...string) (status int, stderr string) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	var written bytes.Buffer
	args = append([]string{"-addr", "127.0.0.1:0"}, args...)
	status = run(ctx, args, func(string) string { return secret }, &written)
	return status, written.String()
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

// An answer is what comes back.
type answer struct {
	status    int // 0 if there is no answer; then the body says why
	header    http.Header
	body      string
	logBegins int    // where the log ended before the request
	log       string // what it says about the request
}

func (a answer) String() string { return strings.TrimSpace(fmt.Sprint(a.status, " ", a.body)) }

// token returns the token of an answer to a log-in, or "".
func (a answer) token() string {
	_, token, _ := strings.Cut(a.body, `"access_token":"`)
	token, _, _ = strings.Cut(token, `"`)
	return token
}

// send sends a request, on a connection of its own, and waits for the answer.
func (s *service) send(line string, headers ...string) answer {
	conn, err := s.begin(line, headers...)
	if err != nil {
		return answer{body: "no answer: " + err.Error()}
	}
	defer conn.Close()
	method, _, _ := strings.Cut(line, " ")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return answer{body: "no answer: " + err.Error()}
	}
	if resp.Close { // ReadResponse removes it
		resp.Header.Set("Connection", "close")
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		body = append(body, " (cut off)"...)
	}
	return answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
}

// begin sends a request as a conversation has it: "POST /path body", and more headers.
func (s *service) begin(line string, headers ...string) (net.Conn, error) {
	method, rest, _ := strings.Cut(line, " ")
	path, body, _ := strings.Cut(rest, " ")
	lines := []string{method + " " + path + " HTTP/1.1", "Host: x"}
	lines = append(lines, headers...)
	has := func(name string) bool {
		return strings.Contains("\n"+strings.Join(lines, "\n"), "\n"+name+":")
	}
	add := func(name, value string) {
		if !has(name) {
			lines = append(lines, name+": "+value)
		}
	}

	add("Connection", "close")
	switch {
	case method == "GET" && body != "":
		add("Authorization", body)
		body = ""
	case path == "/auth/signup":
		add("Content-Type", "application/json")
	default:
		add("Content-Type", "application/x-www-form-urlencoded")
	}
	if !has("Transfer-Encoding") {
		add("Content-Length", strconv.Itoa(len(body)))
	}
	withoutValue := func(line string) bool { return strings.HasSuffix(line, ":") }
	request := strings.Join(slices.DeleteFunc(lines, withoutValue), "\r\n") + "\r\n\r\n" + body

	conn, err := net.Dial("tcp", s.host)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second)) // a request may wait 15 s for a slot
	if s.tls {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	go io.WriteString(conn, request) // the answer may come before all is read
	return conn, nil
}

func signupOf(name string) string {
	const user = `{"username":%q,"email":"a@b","password":"plaintextpassword"}`
	return "POST /auth/signup " + fmt.Sprintf(user, name)
}

func loginOf(name, password string) string {
	return "POST /auth/login username=" + name + "&password=" + password
}

// given writes a users file, and returns a token for the first user.
func (s *service) given(t testing.TB, names ...string) string {
	t.Helper()
	edit(t, s.path, "", usersFile(hashOfGiven, names...))
	before := len(s.log.String())
	token := s.logIn(t, names[0])
	await(t, "the line of the log about a log-in", func() bool {
		return strings.Contains(s.log.String()[before:], "msg=request ")
	})
	return token
}

// logIn returns a token for a user with plaintextpassword.
func (s *service) logIn(t testing.TB, name string) string {
	t.Helper()
	a := s.send(loginOf(name, "plaintextpassword"))
	if a.token() == "" {
		t.Fatalf("This test needs a token, so %s must be able to log in.\ncame: %s", name, a)
	}
	return a.token()
}

// usersFile returns a users file with these users, who have one hash.
func usersFile(hash string, names ...string) string {
	lines := make([]string, len(names))
	for i, name := range names {
		lines[i] = fmt.Sprintf(`{"id":%d,"username":"%s","email":"%s@example.com",`+
			`"hashed_password":"%s","is_active":true}`, i+1, name, name, hash)
	}
	return "[\n" + strings.Join(lines, ",\n") + "\n]\n"
}

var edits atomic.Int64

// edit puts new in the place of old in the users file, or writes new if old is "". Each edit has a
// time of its own. (Two edits within a tick of the clock of files may be seen late.)
func edit(t testing.TB, path, old, new string) {
	t.Helper()
	if old != "" {
		text := readFile(t, path)
		if !strings.Contains(text, old) {
			t.Fatalf("This edit replaces %q, and the users file doesn't have it:\n%s", old, text)
		}
		new = strings.Replace(text, old, new, 1)
	}
	writeFile(t, path, new)
	second := time.Unix(1_700_000_000+edits.Add(1), 0)
	must(t, os.Chtimes(path, second, second))
}

// matches reports whether a text is what a pattern says. In the pattern, … stands for any text.
func matches(text, pattern string) bool {
	quoted := strings.ReplaceAll(regexp.QuoteMeta(pattern), "…", "(?s:.*)")
	return regexp.MustCompile("^" + quoted + "$").MatchString(text)
}

// shorten cuts a text that would fill the screen.
func shorten(text string) string {
	if len(text) > 1200 {
		return fmt.Sprintf("%.1200s… (%d bytes)", text, len(text))
	}
	return text
}

// lastLines returns the last 12 lines of a text, for a message.
func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// same expects a value. What says what it is the value of.
func same[T comparable](t testing.TB, what string, came, want T, promise string) {
	t.Helper()
	check(t, came == want, promise, "%s\ncame: %v\nwant: %v", what, came, want)
}

// check expects that ok is true. Of the checks of a test, only the first one that fails says so.
func check(t testing.TB, ok bool, promise, format string, args ...any) {
	t.Helper()
	if !ok && !t.Failed() {
		t.Errorf(promise+"\n"+format, args...)
	}
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

// await waits until something is so.
func await(t testing.TB, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("This test waited 20 s for %s, and gave up.", what)
		}
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

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
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

// strace writes the system calls of a program into a file, or lets them fail or wait, until stop is
// called.
func strace(t *testing.T, p *program, file string, args ...string) (stop func()) {
	t.Helper()
	pid := strconv.Itoa(p.cmd.Process.Pid)
	args = append([]string{"-f", "-e", "signal=none", "-p", pid, "-o", file}, args...)
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
