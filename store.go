package main

// This file keeps the users: in a map, behind a mutex, in one JSON file. Its rules are:
//
//   - The file is the truth. Every look-up asks the file system whether it still holds the file that was read last
//     (one stat, about a microsecond), so that an edit in any editor counts from the next request on.
//   - The path always names a whole document. A save writes a new file beside the old one and renames it into place.
//   - Nobody sees a user before the disk has it, and nobody waits for a save to see the others. Only who comes upon an
//     edit waits: for the file to be read, and for a save that is under way.
//
// On a first reading take User, Store, Create, save, refresh and reload. The rest is for crashes, editors and odd disks.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	fileMode = 0o600 // password hashes are nobody else's business

	// stampGrain is longer than the ticks in which systems stamp files (Linux 10 ms, Windows 16 ms). Two writes within one
	// tick bear one stamp, so an edit of the same length could pass unnoticed. Therefore a file younger than this is read
	// only when the tick has passed; and a save dates its file back, so that any edit after it has another stamp. (On a
	// disk that knows whole seconds only, such as FAT, two such edits within a second still look like one.)
	stampGrain = 20 * time.Millisecond
	stampTries = 5 // how many ticks to wait for a file that is written to all the time

	// Windows refuses to rename over a file that a virus scanner or an editor has open at that moment, so a save tries for
	// a tenth of a second.
	renameTries = 10
	renamePause = 10 * time.Millisecond

	saveTries = 5  // how often a sign-up starts over because the file was edited under it
	linksMost = 40 // as many symbolic links in a row as Linux follows
)

// ErrExists says that a username is taken, in whatever letter case.
var ErrExists = errors.New("username already exists")

// errEdited says that the file is no longer the one that was read, so a save must not replace it.
var errEdited = errors.New("the users file was edited at this very moment")

// A User is one account as it is stored, with the members of the lesson's model.
type User struct {
	ID             int64  `json:"id"`
	Username       string `json:"username"`
	Email          string `json:"email"`
	HashedPassword string `json:"hashed_password"`
	IsActive       bool   `json:"is_active"`
}

// A Store holds all users in memory and in one file, which looks like this:
//
//	[
//	{"id":1,"username":"enrico","email":"enrico@example.com","hashed_password":"$2a$12$…","is_active":true},
//	{"id":2,"username":"anna","email":"anna@example.com","hashed_password":"$2a$12$…","is_active":false,"note":"moved away"}
//	]
//
// What else a person writes into it, such as note, stays. One process at a time may use a file.
type Store struct {
	path string
	log  *slog.Logger

	writing sync.Mutex   // orders those who replace or read the file; it is held across the disk
	mu      sync.RWMutex // guards the fields below for an instant, never across the disk; changing them takes both locks

	document
	coming fs.FileInfo // the file that a save is about to rename into place, or nil
	broken error       // why the file can't be read just now; the document is then the last good one
}

// A document is what one users file holds.
type document struct {
	file  fs.FileInfo      // which file was read or written, to tell it from a later one; nil: there was none
	open  []byte           // its text, but for the closing bracket: a save appends to it
	users map[int64]User   // by id
	ids   map[string]int64 // by fold(username)
	maxID int64
}

// OpenStore reads the users file at path. A missing file is an empty store; one that can't be read or understood is an
// error that says where and what the fault is, and is left as it is.
func OpenStore(path string, log *slog.Logger) (*Store, error) {
	doc, err := readDocument(path)
	if err != nil {
		return nil, err
	}
	if doc.file != nil && doc.file.Mode().Perm()&^fileMode != 0 && runtime.GOOS != "windows" {
		log.Warn("others may read the password hashes: chmod 600, or the next sign-up does it", "users", path)
	}
	folder, name := filepath.Split(followLinks(path))
	entries, err := os.ReadDir(filepath.Clean(folder))
	if err != nil {
		return nil, fmt.Errorf("the folder of the users file can't be read; make it first: %w", err)
	}
	for _, entry := range entries { // what a killed process left behind
		digits, ok := strings.CutPrefix(entry.Name(), tempPrefix(name))
		if ok && digits != "" && strings.Trim(digits, "0123456789") == "" {
			os.Remove(filepath.Join(folder, entry.Name()))
		}
	}
	return &Store{path: path, log: log, document: doc}, nil
}

// ByName returns the user of that name, in whatever letter case.
func (s *Store) ByName(username string) (User, bool) {
	s.refresh()
	s.mu.RLock()
	defer s.mu.RUnlock()
	u, ok := s.users[s.ids[fold(username)]] // no id is 0
	return u, ok
}

// ByID returns the user of that id.
func (s *Store) ByID(id int64) (User, bool) {
	s.refresh()
	s.mu.RLock()
	defer s.mu.RUnlock()
	u, ok := s.users[id]
	return u, ok
}

// Create gives u the next id and stores it. When it returns the user, the disk has it. If it returns an error, neither
// memory nor the file has changed; the error is ErrExists, or it says why the file can't be written or read just now.
func (s *Store) Create(u User) (User, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	var err error
	for range saveTries {
		if err = s.reload(); err != nil {
			return User{}, err
		}
		if _, taken := s.ids[fold(u.Username)]; taken {
			return User{}, ErrExists
		}
		if s.maxID == math.MaxInt64 {
			return User{}, fmt.Errorf("%s: id %d leaves no higher id for the next user", s.path, s.maxID)
		}
		u.ID = s.maxID + 1
		if err = s.save(u); err == nil {
			return u, nil
		}
		if !errors.Is(err, errEdited) {
			break
		}
	}
	return User{}, fmt.Errorf("saving %s: %w", s.path, err)
}

// save puts a file with u in the place of the current one, and then u into memory.
func (s *Store) save(u User) error {
	start := time.Now()
	line, err := json.Marshal(u)
	if err != nil {
		return err
	}
	open := s.open // appending writes behind its end, where nobody looks: if the save fails, s.open still is as it was
	if !bytes.HasSuffix(open, []byte("[")) {
		open = append(open, ',')
	}
	open = append(append(open, '\n'), line...)
	text := append(open, "\n]\n"...)
	file, err := s.replace(text)
	s.mu.Lock()
	s.coming = nil
	if err == nil {
		s.file, s.open = file, open
		s.add(u)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	s.log.Debug("saved the users file", "bytes", len(text), "took", time.Since(start))
	return nil
}

// replace gives the users file a new text, whole and durable, or leaves it as it was.
//
// The order is that of every careful writer: write a file beside it, sync that, rename it over the old one, sync the
// folder. Without the first sync a power cut can leave the new name on an empty file; without the second, the old file
// can come back after the client was told 201.
func (s *Store) replace(text []byte) (fs.FileInfo, error) {
	target := followLinks(s.path)
	folder, err := os.Open(filepath.Dir(target))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	temp, err := writeTemp(target, text)
	defer os.Remove(temp) // finds nothing once it has been renamed
	if err != nil {
		return nil, err
	}
	file, err := os.Stat(temp)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.coming = file // a reader who meets it before it is published need not read it
	s.mu.Unlock()

	// A second name for the old file is the way back. (A disk without hard links, such as FAT, has none: what can't be
	// undone there, the next request reads like an edit.)
	//
	// To free a large file takes milliseconds. While the old one is open, neither the rename frees it, which would leave
	// an edit time to slip in after the last look at the path, nor the removal of its second name, which the client would
	// wait for. Windows doesn't rename over open files.
	if runtime.GOOS != "windows" {
		if held, err := os.Open(target); err == nil {
			defer func() { go held.Close() }()
		}
	}
	old := temp + "0"
	os.Link(target, old)
	defer os.Remove(old)
	for try := 1; ; try++ {
		if !s.unchanged() {
			return nil, errEdited
		}
		if err = os.Rename(temp, target); err == nil {
			break
		}
		if errors.Is(err, syscall.EBUSY) {
			return nil, fmt.Errorf("%w: if the file itself is mounted into a container, mount its folder instead", err)
		}
		if try == renameTries {
			return nil, err
		}
		time.Sleep(renamePause)
	}
	err = syncFolder(folder)
	if was, errOld := os.Stat(old); err == nil && errOld == nil && !sameFile(was, s.file) {
		err = errEdited // in place, after the last look
	}
	switch {
	case err == nil || !s.unchanged(): // done; or edited once more, and no longer ours to undo
	case s.file == nil:
		os.Remove(target)
	default:
		os.Rename(old, target)
	}
	return file, err
}

// writeTemp makes a file beside target with the given text, on the disk, and returns its name even after an error.
func writeTemp(target string, text []byte) (name string, err error) {
	temp, err := os.CreateTemp(filepath.Dir(target), tempPrefix(filepath.Base(target))+"*")
	if err != nil {
		return "", err
	}
	defer temp.Close() // a second Close does nothing
	if _, err := temp.Write(text); err != nil {
		return temp.Name(), err
	}
	if err := temp.Chmod(fileMode); err != nil { // whatever the umask
		return temp.Name(), err
	}
	if err := temp.Sync(); err != nil {
		return temp.Name(), err
	}
	if err := temp.Close(); err != nil {
		return temp.Name(), err
	}
	stamp := time.Now().Add(-2 * stampGrain)
	return temp.Name(), os.Chtimes(temp.Name(), stamp, stamp)
}

// refresh sees to it that memory says what the file says.
func (s *Store) refresh() {
	for range 2 { // a save that ends between the two looks, at the path and into memory, makes the first answer wrong
		if s.unchanged() {
			return
		}
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	s.reload()
}

// reload reads the file if it isn't the one that memory holds, and returns why it can't be read, if so. Each fault is
// logged once. The caller holds s.writing.
func (s *Store) reload() error {
	if s.unchanged() {
		return s.broken
	}
	doc, err := readDocument(s.path)
	if err == nil && doc.file == nil && len(s.users) > 0 {
		// Many editors move the old file away before they write the new one, so this is no order to forget everybody.
		err = fmt.Errorf("%s is gone: put it back, or start again to begin without users", s.path)
	}
	before := s.broken
	s.mu.Lock()
	s.broken = err
	if err != nil {
		s.file = doc.file
	} else {
		s.document = doc
	}
	s.mu.Unlock()
	if err == nil {
		s.log.Info("users file read again", "users", len(doc.users))
	} else if before == nil || before.Error() != err.Error() {
		s.log.Error("users file can't be read: log-ins go on with the last good one, sign-ups get 503 until it is mended", "err", err)
	}
	return err
}

// unchanged reports whether the path still names the file that memory knows, or the one that a save puts there.
func (s *Store) unchanged() bool {
	now, err := os.Stat(s.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err != nil {
		return s.file == nil && s.broken == nil // no file yet
	}
	return sameFile(now, s.file) || sameFile(now, s.coming)
}

func sameFile(a, b fs.FileInfo) bool {
	return b != nil && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// readDocument reads and parses the file at path; a missing file is an empty document. A file with a fault in its text
// is named in the document all the same, so that it is read again only when it has changed.
func readDocument(path string) (document, error) {
	file, err := os.Stat(path)
	for try := 0; try < stampTries && err == nil; try++ {
		if file.Size() > 0 && time.Since(file.ModTime()).Abs() >= stampGrain {
			break
		}
		time.Sleep(stampGrain) // empty: an editor has truncated it, which ext4 stamps only afterwards, and will write
		file, err = os.Stat(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return parseDocument(path, []byte("[]"))
	}
	if err != nil {
		return document{}, fmt.Errorf("users file: %w", err)
	}
	if !file.Mode().IsRegular() { // looked at before it is opened: opening a named pipe would wait for ever
		return document{}, fmt.Errorf("%s is no file, but a folder, a pipe or a device", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return document{}, fmt.Errorf("users file: %w", err)
	}
	doc, err := parseDocument(path, text)
	doc.file = file
	return doc, err
}

// isBcryptHash reports whether hash is one that a log-in can be compared with: version, cost, then salt and digest in
// bcrypt's own base64. A cost over maxCost is refused, since one log-in would take many seconds.
func isBcryptHash(hash string) bool {
	cost, err := bcrypt.Cost([]byte(hash))
	return err == nil && cost <= maxCost && len(hash) == 60 &&
		(hash[:4] == "$2a$" || hash[:4] == "$2b$" || hash[:4] == "$2y$") && hash[6] == '$' &&
		strings.Trim(hash[7:], alphanumeric+"./") == ""
}

// parseDocument reads the text of a users file. Its errors read "users.json:3:17: what is wrong" (line and column).
//
// The text itself, but for the closing bracket, is what the next save appends to. So whatever a person wrote into the
// file stays as it is, members that this program doesn't know among it.
func parseDocument(path string, text []byte) (document, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // Windows Notepad begins a file so
	at := func(offset int, format string, args ...any) error {
		before := text[:max(0, offset)]
		line := bytes.Count(before, []byte("\n")) + 1
		column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
		return fmt.Errorf("%s:%d:%d: %s", path, line, column, fmt.Sprintf(format, args...))
	}
	for i := 0; !utf8.Valid(text); { // then it is time to look for the place
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && size == 1 {
			return document{}, at(i, "not UTF-8 text: save it as UTF-8")
		}
		i += size
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return document{}, at(0, "the file is empty: write [] into it, or remove it")
	}
	var records []struct {
		User
		IsActive *bool `json:"is_active"` // tells false from missing
	}
	err := json.Unmarshal(text, &records)
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return document{}, at(int(syntax.Offset)-1, "not JSON, or not all of it: %v", err)
	case errors.As(err, &wrong) && wrong.Field != "":
		member := wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:]
		return document{}, at(int(wrong.Offset)-1, "%s has the wrong type: it can't be a %s", member, wrong.Value)
	case errors.As(err, &wrong):
		return document{}, at(int(wrong.Offset)-1, "not a JSON array of users, one object each")
	case records == nil:
		return document{}, at(0, "not a JSON array of users, but null")
	}
	doc := document{
		open:  bytes.TrimRight(text[:bytes.LastIndexByte(text, ']')], " \t\r\n"),
		users: make(map[int64]User, len(records)),
		ids:   make(map[string]int64, len(records)),
	}
	for i, record := range records {
		u := record.User
		_, idTaken := doc.users[u.ID]
		_, nameTaken := doc.ids[fold(u.Username)]
		reason := ""
		switch {
		case u.ID < 1:
			reason = "id is missing or below 1"
		case idTaken:
			reason = fmt.Sprintf("id %d is used twice", u.ID)
		case u.Username == "":
			reason = "username is missing or empty"
		case nameTaken:
			reason = fmt.Sprintf("username %.64q is used twice; letter case doesn't count", u.Username)
		case u.Email == "":
			reason = "email is missing or empty"
		case !isBcryptHash(u.HashedPassword):
			reason = "hashed_password is missing or no bcrypt hash of cost 4 to 16; sign-up makes one"
		case record.IsActive == nil:
			reason = "is_active is missing"
		default:
			u.IsActive = *record.IsActive
			doc.add(u)
			continue
		}
		return document{}, at(recordOffset(text, i), "%s", reason)
	}
	return doc, nil
}

// recordOffset returns where the array element i begins in a valid text.
func recordOffset(text []byte, i int) int {
	var records []json.RawMessage
	json.Unmarshal(text, &records)
	end := 0
	for _, record := range records[:i] {
		end += bytes.Index(text[end:], record) + len(record) // between two elements nothing looks like one
	}
	return end + bytes.Index(text[end:], records[i])
}

// add puts u into the maps.
func (d *document) add(u User) {
	d.users[u.ID] = u
	d.ids[fold(u.Username)] = u.ID
	d.maxID = max(d.maxID, u.ID)
}

// fold makes names equal that differ in letter case alone.
func fold(username string) string { return strings.ToLower(username) }

// followLinks returns the file that path names, through symbolic links, so that a save replaces the file and not the
// link. It goes link by link, since filepath.EvalSymlinks doesn't know files that are yet to be made.
func followLinks(path string) string {
	for range linksMost {
		folder, name := filepath.Split(path)
		folder, err := filepath.EvalSymlinks(folder)
		if err != nil {
			return path // to fail where it is used
		}
		path = filepath.Join(folder, name)
		link, err := os.Readlink(path)
		if err != nil {
			return path // not a link
		}
		if !filepath.IsAbs(link) {
			link = folder + string(filepath.Separator) + link // not cleaned: behind a link, x/.. may be another folder
		}
		path = link
	}
	return path
}

// tempPrefix begins the names of the temporary files of a users file of that name; digits follow.
func tempPrefix(name string) string { return "." + name + ".tmp" }

// syncFolder makes a rename in folder durable. Windows and some network file systems can't be asked for that.
func syncFolder(folder *os.File) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	if err := folder.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
