package main

// This file keeps the users in one JSON file. What happens …
//
//   - if somebody edits the file while the program runs? The next request reads it (look).
//   - if the edit has a fault? The last good users stay, and the log names the fault (reload).
//   - if two sign-ups want the same name? There is one save at a time, so the second one finds the
//     name taken (create).
//   - if the disk is full, or the power fails during a save? The file is the old one or the new
//     one, never half of it: save writes a new file and renames it.
//   - if somebody edits the file during a save? The save looks once more before it renames. Then
//     the edit stays, and the sign-up gets 503 (replace).

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// ---- The users ----

type user struct {
	ID             int64  `json:"id"`
	Username       string `json:"username"`
	Email          string `json:"email"`
	HashedPassword string `json:"hashed_password"`
	IsActive       bool   `json:"is_active"`
}

// A snapshot has all users of one moment. It never changes: a save makes another snapshot. So
// many requests can read one at the same time, without a lock.
type snapshot struct {
	text   []byte           // of the users file
	byID   map[int64]*user  // such as 1: {1, "Enrico", …}
	byName map[string]*user // such as "enrico": {1, "Enrico", …}; the key is fold(Username)
	maxID  int64            // 0 if there are no users
}

// named returns the user with this name, in any letter case, or nil.
func (snap *snapshot) named(username string) *user { return snap.byName[fold(username)] }

// ---- The store ----

// A store keeps the users in a file like this. A person may add members such as note.
//
//	[
//	{"id":1,"username":"enrico","email":"e@b","hashed_password":"$2a$12$…","is_active":true},
//	{"id":2,"username":"anna","email":"a@b","hashed_password":"$2a$12$…","is_active":true,"note":"x"}
//	]
type store struct {
	path string
	log  *slog.Logger

	saving sync.Mutex // held from the beginning of a save to its end: one save at a time

	// mu guards the fields below. Nobody holds it while a file is written. So a log-in doesn't wait
	// for a save.
	mu    sync.Mutex
	users *snapshot   // the last good users
	stamp fs.FileInfo // identity, size and time of the file at the last look; nil: no file
	fault error       // what was wrong with it, or nil

	saved      *snapshot   // the users of our last save, or nil: see expect
	savedStamp fs.FileInfo // of its file
}

// look returns the users in the file. If the file has a fault, it returns the last good users and
// that fault. It reads the file only if its stamp has changed, or if it could not be read before.
func (st *store) look() (*snapshot, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	stamp, _ := os.Stat(st.path) // nil if there is no file
	if !sameStamp(stamp, st.stamp) {
		st.reload(stamp)
	}
	return st.users, st.fault
}

var errExists = errors.New("the username is taken")

// create stores u and returns its new id. Without an error, the user is in the file, and the file
// was synced. With an error, nothing has changed: the error is errExists, or says why the user
// could not be stored.
func (st *store) create(u user) (int64, error) {
	st.saving.Lock()
	defer st.saving.Unlock()

	before, err := st.look()
	if err != nil {
		return 0, err
	}
	if before.named(u.Username) != nil {
		return 0, errExists
	}

	u.ID = before.maxID + 1
	if u.ID < 1 { // after the largest int64 comes the smallest
		return 0, errors.New("no id is left above the largest one in the users file")
	}
	if err := st.save(before, before.withUser(&u)); err != nil {
		return 0, err
	}
	return u.ID, nil
}

const newSuffix = ".authflow-new" // of the new file

// save puts the text of after into the users file. Nobody ever finds half a file there, because
// save writes a new file beside it and then renames that.
func (st *store) save(before, after *snapshot) error {
	newPath := st.path + newSuffix
	stamp, err := writeNew(newPath, after.text)
	if err != nil {
		return err
	}
	if err := st.replace(newPath, stamp, before, after); err != nil {
		return err
	}
	st.look() // takes the users of after

	// A rename is a change of the folder. So sync that, too: a power cut could bring the old file
	// back. (Not every system can do it, so an error is ignored.)
	if folder, err := os.Open(filepath.Dir(st.path)); err == nil {
		folder.Sync()
		folder.Close()
	}
	return nil
}

// writeNew writes text to a new file at path, and returns its stamp. The file must not exist yet
// (O_EXCL), so two authflows never write into one file. Only its owner may read it (0600). If
// writeNew fails, it leaves no file of its own.
func writeNew(path string, text []byte) (fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}

	// Write only hands the text to the system, which may keep it in memory for some time. Sync
	// waits until it is on the disk. Otherwise a power cut could leave an empty file.
	_, writeErr := f.Write(text)
	syncErr := f.Sync()
	stamp, statErr := f.Stat()
	closeErr := f.Close()

	err = errors.Join(writeErr, syncErr, statErr, closeErr) // nil if all four are nil
	if err != nil {
		os.Remove(path)
	}
	return stamp, err
}

// replace renames the new file to the users file, if nobody has edited the users file since
// create looked. (An edit in the moment between this look and the rename is lost. The README has
// more such cases, in Limits.)
func (st *store) replace(newPath string, stamp fs.FileInfo, before, after *snapshot) error {
	// Was the users file edited? Then look returns another snapshot than create got, or a fault.
	users, err := st.look()
	if err != nil || users != before {
		os.Remove(newPath)
		return errors.New("somebody edited the users file at the same moment")
	}

	// A second authflow removes our new file when it starts. What is there now may be its own, so
	// leave it.
	if now, err := os.Stat(newPath); err != nil || !os.SameFile(now, stamp) {
		return fmt.Errorf("another program has changed %s: if it stays, remove it", newPath)
	}

	// From now on, look-ups may find the new file. Tell them which users it has: then they need
	// not read it.
	st.expect(after, stamp)
	if err := os.Rename(newPath, st.path); err != nil {
		os.Remove(newPath)
		return err
	}
	return nil
}

// ---- What protects the flow ----

// fold turns A-Z into a-z: "Enrico" and "enrico" are one name. strings.ToLower would change other
// letters, too: whoever logs in as İ would be the user i.
func fold(username string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, username)
}

func (snap *snapshot) withUser(u *user) *snapshot {
	after := &snapshot{
		text:   snap.textWith(u),
		byID:   maps.Clone(snap.byID),
		byName: maps.Clone(snap.byName),
		maxID:  snap.maxID,
	}
	after.add(u)
	return after
}

// textWith returns the text of the file with one more line. All that a person wrote about users
// stays as it is.
//
//	before                           after
//	[                                [
//	{"id":1,"username":"enrico",…}   {"id":1,"username":"enrico",…},
//	]                                {"id":2,"username":"anna",…}
//	                                 ]
func (snap *snapshot) textWith(u *user) []byte {
	line, _ := json.Marshal(u) // can't fail: u has only numbers, strings and a bool
	end := []byte("\n]\n")
	if len(snap.byID) == 0 {
		return slices.Concat([]byte("[\n"), line, end)
	}
	upToLastUser := bytes.TrimRight(snap.text, "] \t\r\n") // cuts off the ], spaces and line ends
	return slices.Concat(upToLastUser, []byte(",\n"), line, end)
}

// add puts u into a snapshot that nobody else has yet.
func (snap *snapshot) add(u *user) {
	snap.byID[u.ID] = u
	snap.byName[fold(u.Username)] = u
	snap.maxID = max(snap.maxID, u.ID)
}

// openStore opens the users file at path. At the start, a missing file means that there are no
// users. It is an error if the file has a fault, or if its folder is missing.
func openStore(path string, log *slog.Logger) (*store, error) {
	// A save would replace a symbolic link. So use the file that it leads to.
	if _, err := os.Lstat(path); err == nil { // there is a link, or a file
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, fmt.Errorf("%s is a link that leads nowhere: %w", path, err)
		}
		path = target
	}

	st := &store{path: path, log: log}
	if err := st.tryToWrite(); err != nil {
		return nil, err
	}
	users, stamp, err := readUsers(path)
	if errors.Is(err, fs.ErrNotExist) {
		users, err = newSnapshot(nil), nil
	}
	st.users, st.stamp = users, stamp
	return st, err
}

// tryToWrite makes a file beside the users file, and removes it. If that can't be done, it warns.
// It is an error if there is no folder.
func (st *store) tryToWrite() error {
	os.Remove(st.path + newSuffix) // a save that was killed may have left it
	tryPath := st.path + ".authflow-try"
	os.Remove(tryPath)
	_, err := writeNew(tryPath, nil)
	os.Remove(tryPath)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the folder of %s is missing: make it first", st.path)
	}
	if err != nil {
		st.log.Warn("no user can be stored, and sign-ups get 503, until this is mended", "err", err)
	}
	return nil
}

// sameStamp reports whether both are stamps of the same file, with the same size and time.
func sameStamp(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == b
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// expect tells the store that a file with this stamp has these users.
func (st *store) expect(users *snapshot, stamp fs.FileInfo) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.saved, st.savedStamp = users, stamp
}

// reload takes the users of the file. If it has a fault, or is gone, the last good users stay. The
// caller holds mu.
func (st *store) reload(stamp fs.FileInfo) {
	// Is it the file of our own save? Then we know its users. (A rename keeps the stamp.)
	if st.saved != nil && sameStamp(stamp, st.savedStamp) {
		st.users, st.stamp, st.fault = st.saved, stamp, nil
		return
	}

	users, stamp, err := readUsers(st.path)
	if err != nil && (st.fault == nil || st.fault.Error() != err.Error()) { // log it once
		st.log.Error("the users file has a fault: until it is mended, log-ins use the last good users, "+
			"and sign-ups get 503", "err", err)
	}
	st.stamp, st.fault = stamp, err
	if err == nil {
		st.users = users
		st.log.Info("read the users file", "users", len(users.byID))
	}
}

// readUsers reads the file and checks it. It returns the stamp of a text with a fault, too, so
// that it isn't read again before it changes. For a file that is there, but can't be read, it
// returns no stamp, so the next look tries again: chmod can mend that, and changes no stamp.
func readUsers(path string) (*snapshot, fs.FileInfo, error) {
	// Take the stamp first. If somebody edits the file while we read it, its stamp is another one
	// then, and the next look reads it again.
	stamp, err := os.Stat(path)
	if err == nil && !stamp.Mode().IsRegular() { // to read a pipe could take for ever
		return nil, stamp, fmt.Errorf("%s must be a regular file", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: it must be there, and authflow must be able to read it", err)
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // a byte order mark, which some editors write
	users, err := parseUsers(text)
	if err != nil {
		return nil, stamp, fmt.Errorf("%s: %w", path, err)
	}
	return users, stamp, nil
}

func newSnapshot(text []byte) *snapshot {
	return &snapshot{text: text, byID: map[int64]*user{}, byName: map[string]*user{}}
}

// parseUsers makes a snapshot of a text. Its error names the line of a fault, or the user by its
// place in the file:
//
//	line 4: invalid character '{' after array element
//	user 3 ("anna"): email is missing
func parseUsers(text []byte) (*snapshot, error) {
	if !utf8.Valid(text) { // json.Unmarshal would only replace what is not UTF-8
		return nil, errors.New("not UTF-8: save the file as UTF-8")
	}
	var entries []user
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("line %d: %w", lineOf(err, text), err)
	}

	users := newSnapshot(text)
	for i, u := range entries {
		if reason := users.whatIsWrong(&u); reason != "" {
			return nil, fmt.Errorf("user %d (%q): %s", i+1, u.Username, reason)
		}
		users.add(&u)
	}
	return users, nil
}

// lineOf returns the line where json.Unmarshal has found a fault.
func lineOf(err error, text []byte) int {
	var offset int64 // in bytes, just behind the fault
	switch err := err.(type) {
	case *json.SyntaxError:
		offset = err.Offset
	case *json.UnmarshalTypeError:
		offset = err.Offset
	}
	return 1 + bytes.Count(text[:max(0, offset-1)], []byte("\n"))
}

// bcryptHash matches a hash such as $2a$12$R9h/cIPz0gi…: version, cost (4 to 16), and 53
// characters of salt and digest.
var bcryptHash = regexp.MustCompile(`^\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}$`)

// whatIsWrong returns the fault of a user in the file, or "". snap has the users above it in the
// file.
func (snap *snapshot) whatIsWrong(u *user) string {
	switch {
	case u.ID < 1 || snap.byID[u.ID] != nil:
		return "id is missing, below 1, or used twice"
	case u.Username == "" || snap.named(u.Username) != nil:
		return "username is missing, or used twice (in any letter case)"
	case u.Email == "":
		return "email is missing"
	case !bcryptHash.MatchString(u.HashedPassword):
		return "hashed_password is missing, or not a bcrypt hash of cost 4 to 16"
	}
	return ""
}
