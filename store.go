package main

// This file keeps the users in one JSON file. What happens …
//
//   - if somebody edits the file while the program runs? The next look-up sees another stamp, that
//     is, another file, size or time, and reads it (look).
//   - if the edit has a fault? The last good users stay, and the log names the fault (reload).
//   - if two sign-ups want the same name? There is one save at a time, so the second one finds the
//     name taken (create).
//   - if the disk is full, or the power fails during a save? The file is the old one or the new
//     one, never half of it: save writes a new file and renames it.
//   - if somebody edits the file during a save? The edit stays, and the sign-up gets 503. "Saving",
//     below, lists the moments, and the two kinds of edit that are lost.
//   - if a hundred sign-ups come at once, and the disk is slow? They wait in a line (acquire).

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	maxFile    = 1 << 30          // bytes, some millions of users: more is surely a mistake
	maxWaiting = 100              // requests in a line; the next one is refused at once
	maxWait    = 15 * time.Second // for a slot: a request that waits longer is refused
)

var (
	errExists     = errors.New("username already exists")
	errSaveFailed = errors.New("the save failed")
	errEdited     = errors.New("the users file was edited at the same moment")
	errBusy       = errors.New("too busy")
)

// ---- The users ----

// A user is one stored account.
type user struct {
	ID             int64  `json:"id"`
	Username       string `json:"username"`
	Email          string `json:"email"`
	HashedPassword string `json:"hashed_password"`
	IsActive       bool   `json:"is_active"`
}

// A snapshot has the users of one moment. Once it is in the store, it never changes: a save makes a
// new one. So a request can read it without a lock.
type snapshot struct {
	text        []byte           // the users file
	byID        map[int64]*user  // 1: {1, "Enrico", …}
	byName      map[string]*user // "enrico": {1, "Enrico", …}; the key is fold(Username)
	maxID       int64            // 0 if there are no users
	highestCost int              // of the stored hashes and of -cost
}

// named returns the user of that name, in any letter case, or nil.
func (snap *snapshot) named(username string) *user { return snap.byName[fold(username)] }

// fold turns ASCII letters to lower case, and no others: "Enrico" and "enrico" are one name.
func fold(username string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, username)
}

// ---- The store ----

// A store keeps the users in a file like this:
//
//	[
//	{"id":1,"username":"enrico","email":"e@b","hashed_password":"$2a$12$…","is_active":true},
//	{"id":2,"username":"anna","email":"a@b","hashed_password":"$2a$12$…","is_active":true,"note":"x"}
//	]
//
// A person may add members such as note. (But not Id: Go takes that for id.) Only one process may
// use the file.
//
// The store has two locks. A save holds saving from its beginning to its end, so there is one save
// at a time. mu guards the fields below it. It is held only for short steps: for a look-up, to read
// an edited file, for the rename of a save. No look-up waits for a disk to sync.
type store struct {
	path string // of the file, or of a link to it
	cost int    // of new hashes
	log  *slog.Logger

	saving *semaphore // with one slot

	mu      sync.Mutex  // guards the three below
	users   *snapshot   // what the file has; if readErr is set, the last good users
	stamp   fs.FileInfo // of the file that we have read or saved; nil if there was none to read
	readErr error       // the fault of the file, or nil
}

// openStore reads the users file at path. A missing file is an empty store; a file with a fault is
// an error, which names the line or the user.
func openStore(path string, cost int, log *slog.Logger) (*store, error) {
	// A missing file is fine, a link that leads nowhere is not.
	target, err := followLink(path)
	if err != nil {
		return nil, err
	}
	users, stamp, err := readUsers(path, cost)
	if err != nil {
		return nil, err
	}
	st := &store{
		path: path, cost: cost, log: log, saving: newSemaphore(1), users: users, stamp: stamp,
	}

	// Say what is slow, and what is unsafe. (0o077 are the rights of group and others. Windows has
	// other rights.)
	st.warnOfCost()
	if stamp != nil && stamp.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		log.Warn("others may read the password hashes: chmod 600 " + path)
	}

	// Remove what killed saves have left. Then try whether a save would work.
	if err := removeLeftovers(target); err != nil {
		return nil, fmt.Errorf("make the folder of the users file, or make it readable: %w", err)
	}
	trial, err := writeTemp(target, nil)
	if err != nil {
		log.Warn("sign-ups will get 503: the users file's folder can't be written to", "err", err)
	}
	os.Remove(trial)
	return st, nil
}

// current returns the users in the file. If the file has a fault, these are the last good ones.
func (st *store) current() *snapshot {
	users, _ := st.look()
	return users
}

// look returns what current returns, and the fault of the file if it has one.
func (st *store) look() (*snapshot, error) {
	st.mu.Lock()
	defer st.mu.Unlock()

	// The same file, size and time as at the last reading or save? Then take it as unchanged. (On
	// some disks, file times are whole seconds. An edit of the same length within the same second
	// looks unchanged: it is seen only at the next save or edit.)
	stamp, _ := os.Stat(st.path) // nil if there is no file
	if !sameStamp(stamp, st.stamp) {
		st.reload()
	}
	return st.users, st.readErr
}

// readAgain returns what look returns, and reads the file whatever its stamp is.
func (st *store) readAgain() (*snapshot, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.reload()
	return st.users, st.readErr
}

// reload reads the file again. If it has a fault, the last good users stay. The caller holds mu.
func (st *store) reload() {
	// If there were users, a missing file is a mistake, and not an empty store.
	users, stamp, err := readUsers(st.path, st.cost)
	if err == nil && stamp == nil && len(st.users.byID) > 0 {
		err = fmt.Errorf("%s is gone: put it back, or begin without users: echo '[]' > %s",
			st.path, st.path)
	}
	// A text with a fault has a stamp too: it isn't read again until the file changes.
	before := st.readErr
	st.stamp, st.readErr = stamp, err

	if err != nil {
		// Log each fault once, not at each look-up.
		if before == nil || before.Error() != err.Error() {
			st.log.Error("users file has a fault: log-ins go on with the last good one, "+
				"sign-ups get 503", "err", err)
		}
		return
	}
	st.users = users
	st.log.Info("read the users file", "users", len(users.byID))
	st.warnOfCost()
}

func (st *store) warnOfCost() {
	if st.users.highestCost > st.cost {
		st.log.Warn("a stored hash costs more than -cost: every log-in takes that long",
			"highest", st.users.highestCost)
	}
}

// ---- Saving ----
//
// A save has six steps. If the disk is slow, they take seconds:
//
//	1 look at the users   2 write a new file   3 read the old one and its stamp again, compare
//	4 check the stamp     5 rename the new file   6 sync the folder
//
// A person may edit the file at any time. What becomes of an edit depends on when it comes:
//
//	before 1         We add our user to the edited text. (If look has missed the edit, step 3 sees
//	                 it.)
//	between 1 and 3  The text is not what we have read: unedited sees that.
//	between 3 and 4  The stamp is not the one of step 3: replace sees that. (It can't see an edit
//	                 that keeps size and time: after touch -r, or if times are whole seconds.)
//	between 4 and 5  The edit is lost. This gap is some microseconds long. No system has a rename
//	                 that checks first.
//	after 5          The next look-up reads it. But if the editor has opened the file before 5,
//	                 our user is lost: the editor writes its old text.
//
// If we see an edit after step 1, it stays, and the sign-up gets 503. If it is sent again, it
// builds on the edit.

// create gives u the next id, stores it, and returns the id. Without an error, the user is on the
// disk. If the client hangs up, create stops waiting for other saves; but a save that has begun
// goes on.
//
// The error is errExists, errBusy, context.Canceled, or errSaveFailed with its cause. Then nothing
// was stored; save names one exception.
func (st *store) create(ctx context.Context, u user) (int64, error) {
	release, err := st.saving.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer release()

	before, err := st.look()
	if err != nil { // a mend of the same length, in the same second, may have kept the stamp
		before, err = st.readAgain()
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: the file has a fault; an earlier line says which", errSaveFailed)
	case before.named(u.Username) != nil:
		return 0, errExists
	case before.maxID == math.MaxInt64:
		return 0, fmt.Errorf("%w: no id is left after %d", errSaveFailed, before.maxID)
	}

	u.ID = before.maxID + 1
	if err := st.save(before, before.withUser(&u, before.textWith(&u))); err != nil {
		return 0, fmt.Errorf("%w: %w", errSaveFailed, err)
	}
	return u.ID, nil
}

// save replaces the users file by after.text, if the file still has before.text.
//
// After the rename, one thing can still fail: to sync the folder. Then the user is in the file, but
// a power cut may remove the user again. The client gets 503. A second try gets 400, because the
// name is taken.
func (st *store) save(before, after *snapshot) error {
	// Write a new file beside the old one: a rename can't move a file to another disk.
	target, err := followLink(st.path)
	if err != nil {
		return err
	}
	temp, err := writeTemp(target, after.text)
	defer os.Remove(temp) // also after an error; after the rename there is no such file any more
	if err != nil {
		return err
	}

	// Put it in the place of the old one.
	stamp, err := st.unedited(before)
	if err != nil {
		return err
	}
	if err := st.replace(target, stamp, temp, after); err != nil {
		return err
	}

	// The name of a file is stored in its folder. Until the folder is on the disk too, a power cut
	// may undo the rename.
	if err := syncFolder(filepath.Dir(target)); err != nil {
		return fmt.Errorf("the user is in the file, but a power cut may remove it: %w", err)
	}
	return nil
}

// unedited checks that the users file still has the text of the snapshot before. Then it returns
// the file's stamp, otherwise errEdited. It compares the text, because an edit may keep the stamp:
// file times are rounded to some milliseconds, on a USB stick to two seconds.
func (st *store) unedited(before *snapshot) (fs.FileInfo, error) {
	text, stamp, err := readText(st.path)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(text, before.text) {
		return stamp, nil
	}

	st.readAgain() // if the edit has kept the stamp, look would not notice it
	return nil, errEdited
}

// replace renames temp to target, and makes the snapshot after the store's users, if the users file
// still has this stamp. If it has another, the next look-up reads the edit.
func (st *store) replace(target string, stamp fs.FileInfo, temp string, after *snapshot) error {
	// A rename keeps file, size and time. So the stamp of temp will be that of the users file. (Not
	// on Windows: there the next look-up reads the file again.)
	newStamp, err := os.Stat(temp)
	if err != nil {
		return err
	}

	// Without this lock, a look-up between the rename and the last line would see a new stamp, and
	// read the whole file for nothing. (The lock stops no editor.)
	st.mu.Lock()
	defer st.mu.Unlock()

	// Does the path still lead to the same file, and is that still as it was?
	targetNow, _ := followLink(st.path)
	stampNow, _ := os.Stat(st.path)
	if targetNow != target || !sameStamp(stampNow, stamp) {
		return errEdited
	}
	if err := os.Rename(temp, target); err != nil {
		return err
	}
	st.users, st.stamp, st.readErr = after, newStamp, nil
	return nil
}

// withUser returns a copy of the snapshot with u, and with the text that has u.
func (snap *snapshot) withUser(u *user, text []byte) *snapshot {
	next := *snap
	next.text = text
	next.byID = maps.Clone(snap.byID)
	next.byName = maps.Clone(snap.byName)
	next.add(u)
	return &next
}

// textWith returns the text with one more line. All that a person wrote about users stays as it is.
//
//	before                           after
//	[                                [
//	{"id":1,"username":"enrico",…}   {"id":1,"username":"enrico",…},
//	]                                {"id":2,"username":"anna",…}
//	                                 ]
func (snap *snapshot) textWith(u *user) []byte {
	line, _ := json.Marshal(u) // can't fail: numbers, strings and a bool
	end := []byte("\n]\n")
	if len(snap.byID) == 0 {
		return slices.Concat([]byte("[\n"), line, end)
	}
	upToLastUser := bytes.TrimRight(snap.text, "] \t\r\n") // cuts off these; it stops at the }
	return slices.Concat(upToLastUser, []byte(",\n"), line, end)
}

// add puts u into a snapshot that is still being made.
func (snap *snapshot) add(u *user) {
	snap.byID[u.ID] = u
	snap.byName[fold(u.Username)] = u
	snap.maxID = max(snap.maxID, u.ID)
	cost, _ := bcrypt.Cost([]byte(u.HashedPassword)) // no error: it is a hash
	snap.highestCost = max(snap.highestCost, cost)
}

// ---- Reading ----

// readUsers reads the users file and checks it. It returns the stamp even if the text has a fault.
func readUsers(path string, cost int) (*snapshot, fs.FileInfo, error) {
	text, stamp, err := readText(path)
	if err != nil {
		return nil, nil, err
	}
	users, err := parse(text, cost)
	if err != nil {
		return nil, stamp, fmt.Errorf("%s: %w", path, err)
	}
	return users, stamp, nil
}

// readText returns the text and the stamp of the users file. A missing file is the text [] without
// a stamp.
func readText(path string) ([]byte, fs.FileInfo, error) {
	// Take the stamp first. If the file is edited while we read it, its stamp differs from this
	// one, and the next look-up reads it again.
	stamp, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []byte("[]"), nil, nil
	case err != nil:
		return nil, nil, fmt.Errorf("the users file can't be read: %w", err)
	case !stamp.Mode().IsRegular(): // reading a pipe could take forever
		return nil, nil, fmt.Errorf("%s is not a file, but a folder, a pipe or a device", path)
	case stamp.Size() > maxFile:
		return nil, nil, fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}

	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: the account that runs authflow must be able to read it", err)
	}
	return bytes.TrimPrefix(text, []byte("\ufeff")), stamp, nil // Windows Notepad begins with this
}

// sameStamp reports whether a and b are of the same file, with the same size and time. The stamp
// of a missing file is nil.
func sameStamp(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// A fileUser is a user as the file has it.
type fileUser struct {
	ID             int64  `json:"id"`
	Username       string `json:"username"`
	Email          string `json:"email"`
	HashedPassword string `json:"hashed_password"`
	IsActive       *bool  `json:"is_active"` // nil if it is missing: false would say disabled
}

// parse makes a snapshot of a text. Its error names the line, or the user by its place in the file:
//
//	line 4: not valid JSON: invalid character '{' after array element
//	line 4: id has the wrong type: number 1.5
//	user 3 ("anna"): email is missing
func parse(text []byte, cost int) (*snapshot, error) {
	// json.Unmarshal would replace what is not UTF-8, and not say so.
	for i, line := range bytes.Split(text, []byte("\n")) {
		if !utf8.Valid(line) {
			return nil, fmt.Errorf("line %d: not UTF-8: save the file as UTF-8", i+1)
		}
	}
	var entries []fileUser
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, jsonFault(text, err)
	}
	if entries == nil {
		return nil, errors.New("line 1: null is not an array of users; an empty one is []")
	}

	users := &snapshot{
		text:        text,
		byID:        make(map[int64]*user, len(entries)),
		byName:      make(map[string]*user, len(entries)),
		highestCost: cost,
	}
	for i, entry := range entries {
		if reason := users.whatIsWrong(entry); reason != "" {
			return nil, fmt.Errorf("user %d (%.64q): %s", i+1, entry.Username, reason)
		}
		users.add(&user{entry.ID, entry.Username, entry.Email, entry.HashedPassword,
			*entry.IsActive})
	}
	return users, nil
}

// jsonFault says in which line json.Unmarshal has found a fault, and which, in an operator's words.
func jsonFault(text []byte, err error) error {
	var offset int64 // in bytes: how far Unmarshal has read, up to and with the wrong character
	reason := "not valid JSON: " + err.Error()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = syntax.Offset
	}
	if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		offset = wrongType.Offset
		reason = fmt.Sprintf("%s has the wrong type: %.64s", wrongType.Field, wrongType.Value)
		if wrongType.Field == "" {
			reason = "not an array of users; an empty one is []"
		}
	}

	line := 1 + bytes.Count(text[:max(0, offset-1)], []byte("\n"))
	return fmt.Errorf("line %d: %s", line, reason)
}

// bcryptHash matches a hash such as $2a$12$R9h/cIPz0gi… : version, cost (4 to 16), and 53
// characters of salt and digest.
var bcryptHash = regexp.MustCompile(`^\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}$`)

// whatIsWrong returns the fault of a user in the file, or "". snap has the users before it in the
// file.
func (snap *snapshot) whatIsWrong(r fileUser) string {
	switch {
	case r.ID < 1 || snap.byID[r.ID] != nil:
		return "id is missing, below 1, or used twice"
	case r.Username == "" || snap.named(r.Username) != nil:
		return "username is missing, or used twice (in any letter case)"
	case r.Email == "":
		return "email is missing"
	case !bcryptHash.MatchString(r.HashedPassword):
		return "hashed_password is missing, or not a bcrypt hash of cost 4 to 16"
	case r.IsActive == nil:
		return "is_active is missing"
	}
	return ""
}

// ---- Files ----

// followLink returns the file that path names. If path is a link, that is the file at its end.
func followLink(path string) (string, error) {
	info, err := os.Lstat(path) // asks for the link itself, not for what it leads to
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil // there is no file yet
	case err != nil:
		return "", fmt.Errorf("%w: -users must name a file that this account can reach", err)
	case info.Mode()&fs.ModeSymlink == 0:
		return path, nil // it is no link
	}

	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("the link %s leads nowhere: %w", path, err)
	}
	return target, nil
}

// tempPrefix begins the names of new files: .users.json.authflow-
func tempPrefix(path string) string { return "." + filepath.Base(path) + ".authflow-" }

// writeTemp writes text to a new file beside path. CreateTemp lets only its owner read it (0600).
// Without the sync, a power cut after the rename could leave an empty file. After an error,
// writeTemp returns the name of the file too, so that it can be removed.
func writeTemp(path string, text []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix(path)+"*")
	if err != nil {
		return "", err
	}
	_, writeErr := f.Write(text)
	syncErr := f.Sync()
	closeErr := f.Close()
	return f.Name(), errors.Join(writeErr, syncErr, closeErr) // nil if all three are nil
}

// removeLeftovers removes the new files of saves that were killed.
func removeLeftovers(path string) error {
	files, err := os.ReadDir(filepath.Dir(path))
	for _, file := range files {
		if strings.HasPrefix(file.Name(), tempPrefix(path)) {
			os.Remove(filepath.Join(filepath.Dir(path), file.Name()))
		}
	}
	return err
}

// syncFolder makes a rename durable. On Windows and on some network disks a folder can't be synced.
// Then there is nothing more to do.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	err = folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// ---- Waiting in a line ----

// A semaphore lets as many requests work at the same time as it has slots. The others wait in its
// line. With one slot it is a lock, like a sync.Mutex. But a request can stop waiting for a slot.
type semaphore struct {
	slots   chan struct{} // a box with n places: put a value in to take a slot, then take it out
	waiting atomic.Int64  // requests in the line
}

func newSemaphore(n int) *semaphore { return &semaphore{slots: make(chan struct{}, n)} }

// acquire waits for a slot. The caller must call release when its work is done.
//
// The error is errBusy if maxWaiting requests wait already, or if there is no slot for maxWait. It
// is context.Canceled if the client hangs up.
func (sem *semaphore) acquire(ctx context.Context) (release func(), err error) {
	waiting := sem.waiting.Add(1)
	defer sem.waiting.Add(-1) // at the end of acquire: with a slot or without
	if waiting > maxWaiting {
		return nil, fmt.Errorf("%w: %d requests wait already", errBusy, maxWaiting)
	}
	if ctx.Err() != nil { // the client is gone; select, below, might choose a free slot for it
		return nil, ctx.Err()
	}

	// Wait for what comes first.
	select {
	case sem.slots <- struct{}{}: // there is room in the channel
		return func() { <-sem.slots }, nil
	case <-time.After(maxWait):
		return nil, fmt.Errorf("%w: there was no slot for %v", errBusy, maxWait)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
