package main

// This file stores the users in maps and in one JSON file. The file is the truth: each look-up checks whether it has
// changed. A save writes a new file and renames it over the old one.

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"
)

const (
	// Two edits within one tick of the clock (up to 16 ms) have the same time. So a file this new is read again at the
	// next look-up.
	stampTick = 20 * time.Millisecond

	// A save sets the time of its file back. So the next edit has another time, even where times are whole seconds.
	saveAge = 3 * time.Second
)

// bcryptHash matches version, cost (4 to 16: more takes too long), salt and digest.
var bcryptHash = regexp.MustCompile(`^\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}$`)

var (
	errExists     = errors.New("username already exists")
	errUnreadable = errors.New("users file can't be read: an earlier line says why")
	errEdited     = errors.New("users file was edited at the same moment")
)

// A user is one stored account.
type user struct {
	ID             int64  `json:"id"` // 0: no such user
	Username       string `json:"username"`
	Email          string `json:"email"`
	HashedPassword string `json:"hashed_password"`
	IsActive       bool   `json:"is_active"`
}

// A store keeps the users in a file like this:
//
//	[
//	{"id":1,"username":"enrico","email":"enrico@example.com","hashed_password":"$2a$12$…","is_active":true},
//	{"id":2,"username":"anna","email":"anna@example.com","hashed_password":"$2a$12$…","is_active":false,"note":"moved"}
//	]
//
// Other members, such as note, stay. Only one process may use it.
type store struct {
	path string
	cost int // of new hashes
	log  *slog.Logger

	saving sync.Mutex // held during all of create
	mu     sync.Mutex // guards the rest; never held while a disk syncs, so look-ups don't wait for that
	document
	file    fs.FileInfo // the file that was read; nil: read it at the next look-up
	readErr error       // why it can't be read; the document is then the last good one
}

// A document is the content of a users file.
type document struct {
	users       map[int64]user
	ids         map[string]int64 // by fold(username)
	maxID       int64
	highestCost int
	kept        []byte // the text without its closing bracket: a save appends to it
}

// openStore reads the users file at path; a missing one is empty. An error names line and fault.
func openStore(path string, cost int, log *slog.Logger) (*store, error) {
	s := &store{path: path, cost: cost, log: log}
	target, err := followLink(path)
	if err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		log.Warn("others may read the password hashes: chmod 600 " + path)
	}
	folder := filepath.Dir(target)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("the folder of the users file can't be read; make it first: %w", err)
	}
	for _, entry := range entries { // what a killed process left
		if strings.HasPrefix(entry.Name(), tempPrefix(target)) {
			os.Remove(filepath.Join(folder, entry.Name()))
		}
	}
	probe, err := writeTemp(target, nil)
	if err != nil {
		log.Warn("sign-ups will get 503: the users file's folder can't be written to", "err", err)
	}
	os.Remove(probe)
	return s, nil
}

// byName returns the user of that name, in any letter case, and the highest cost among new and stored hashes.
func (s *store) byName(username string) (u user, cost int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	return s.users[s.ids[fold(username)]], max(s.cost, s.highestCost)
}

// byID returns the user of that id.
func (s *store) byID(id int64) user {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	return s.users[id]
}

// create gives u the next id and stores it. If it returns no error, the user is on the disk. After an error nothing has
// changed, unless the disk failed after the rename: then the user may exist.
//
// A power cut could leave an empty file without the sync before the rename, and the old file without the folder's sync.
func (s *store) create(u user) (user, error) {
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	s.refresh()
	before, readErr := s.document, s.readErr
	taken := s.ids[fold(u.Username)] != 0
	s.mu.Unlock()

	switch {
	case readErr != nil:
		return user{}, errUnreadable
	case taken:
		return user{}, errExists
	case before.maxID == math.MaxInt64:
		return user{}, fmt.Errorf("no id is left after %d", before.maxID)
	}
	u.ID = before.maxID + 1
	line, _ := json.Marshal(u) // can't fail
	kept := before.kept        // append may write behind its end, where nobody reads
	if len(before.users) > 0 {
		kept = append(kept, ',')
	}
	kept = append(append(kept, '\n'), line...)

	target, err := followLink(s.path)
	if err != nil {
		return user{}, err
	}
	folder, err := os.Open(filepath.Dir(target))
	if err != nil {
		return user{}, err
	}
	defer folder.Close()
	if runtime.GOOS != "windows" {
		old, _ := os.Open(target) // freeing a large file takes long: not in the rename
		defer func() { go old.Close() }()
	}
	temp, err := writeTemp(target, append(kept, "\n]\n"...))
	defer os.Remove(temp) // nothing is left after the rename
	if err != nil {
		return user{}, err
	}
	file, err := os.Stat(temp)
	if err != nil {
		return user{}, err
	}

	// No look-up may come between the rename and the maps.
	s.mu.Lock()
	for range 3 { // reading a large file takes long: was it edited meanwhile?
		s.refresh()
	}
	if s.readErr != nil || !bytes.Equal(s.kept, before.kept) {
		err = errEdited
	} else if err = os.Rename(temp, target); err == nil {
		s.file, s.kept = file, kept
		s.add(u)
	}
	s.mu.Unlock()
	if err != nil {
		return user{}, err
	}
	err = folder.Sync()
	if runtime.GOOS == "windows" || errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return u, nil // folders can't be synced here
	}
	return u, err
}

// refresh reads the file again if it has changed, and logs an error once. The caller holds s.mu.
func (s *store) refresh() {
	current, err := os.Stat(s.path)
	if err == nil && s.file != nil && os.SameFile(current, s.file) &&
		current.Size() == s.file.Size() && current.ModTime().Equal(s.file.ModTime()) {
		return
	}
	err = s.load()
	if err != nil && fmt.Sprint(err) != fmt.Sprint(s.readErr) { // readErr may be nil
		s.log.Error("users file can't be read: log-ins go on with the last good one, sign-ups get 503", "err", err)
	}
	s.readErr = err
}

// load reads the file. After an error the document is as before.
func (s *store) load() error {
	start := time.Now()
	s.file = nil
	file, err := os.Stat(s.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(s.users) == 0:
		s.document, err = parse(s.path, []byte("[]"))
		return err
	case errors.Is(err, fs.ErrNotExist): // an editor may be replacing it
		return fmt.Errorf("%s is gone: put it back, or begin without users: echo '[]' > %s", s.path, s.path)
	case err != nil:
		return err
	case !file.Mode().IsRegular(): // opening a pipe would wait
		return fmt.Errorf("%s is not a file, but a folder, a pipe or a device", s.path)
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return fmt.Errorf("%w: make it readable", err)
	}
	if start.Sub(file.ModTime()).Abs() > stampTick {
		s.file = file
	}
	doc, err := parse(s.path, text)
	if err != nil {
		return err
	}
	if s.readErr != nil || !bytes.Equal(doc.kept, s.kept) {
		s.log.Info("read the users file", "users", len(doc.users))
		if doc.highestCost > s.cost {
			s.log.Warn("a stored hash costs more than -cost: every log-in takes that long", "highest", doc.highestCost)
		}
	}
	s.document = doc
	return nil
}

// parse reads the text of a users file. An error names the line where the wrong user begins: "users.json:3: email is
// missing".
func parse(path string, text []byte) (doc document, err error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // Windows Notepad's first character
	offset := 0
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s:%d: %w", path, 1+bytes.Count(text[:offset], []byte("\n")), err)
		}
	}()
	doc.users, doc.ids = make(map[int64]user), make(map[string]int64)
	decoder := json.NewDecoder(bytes.NewReader(text))
	if bracket, _ := decoder.Token(); bracket != json.Delim('[') {
		return doc, errors.New("not a JSON array of users; an empty one is []")
	}
	for decoder.More() {
		rest := bytes.TrimPrefix(text[decoder.InputOffset():], []byte(","))
		offset = len(text) - len(bytes.TrimLeft(rest, " \t\r\n"))
		var record struct {
			user
			IsActive *bool `json:"is_active"` // nil: missing
		}
		if err := decoder.Decode(&record); err != nil {
			return doc, fmt.Errorf("not a user in JSON: %w", err)
		}
		u := record.user
		switch {
		case !utf8.Valid(text[offset:decoder.InputOffset()]):
			return doc, errors.New("not UTF-8: save the file as UTF-8")
		case u.ID < 1 || doc.users[u.ID].ID != 0:
			return doc, errors.New("id is missing, below 1, or used twice")
		case u.Username == "" || doc.ids[fold(u.Username)] != 0:
			return doc, errors.New("username is missing, or used twice (in any letter case)")
		case u.Email == "":
			return doc, errors.New("email is missing")
		case !bcryptHash.MatchString(u.HashedPassword):
			return doc, errors.New("hashed_password is missing, or not a bcrypt hash of cost 4 to 16")
		case record.IsActive == nil:
			return doc, errors.New("is_active is missing")
		}
		u.IsActive = *record.IsActive
		doc.add(u)
	}
	offset = len(text)
	_, err = decoder.Token()
	end := decoder.InputOffset() - 1
	if _, more := decoder.Token(); err != nil || more != io.EOF {
		return doc, errors.New("the closing ] is missing or not last")
	}
	doc.kept = bytes.TrimRight(text[:end], " \t\r\n")
	return doc, nil
}

func (d *document) add(u user) {
	d.users[u.ID] = u
	d.ids[fold(u.Username)] = u.ID
	d.maxID = max(d.maxID, u.ID)
	cost, _ := bcrypt.Cost([]byte(u.HashedPassword)) // bcryptHash matched
	d.highestCost = max(d.highestCost, cost)
}

// fold turns ASCII letters to lower case, and no others.
func fold(username string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, username)
}

// followLink returns the file that path names: a save must not replace a link.
func followLink(path string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return path, nil // no file yet
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("%s leads nowhere: %w", path, err)
	}
	return target, nil
}

func tempPrefix(target string) string { return "." + filepath.Base(target) + ".authflow-" }

// writeTemp writes text to a new file beside target and syncs it. It returns the name after an error too.
func writeTemp(target string, text []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(target), tempPrefix(target))
	if err != nil {
		return "", err
	}
	stamp := time.Now().Add(-saveAge)
	_, err = f.Write(text)
	// All of these are called, in this order, and cmp.Or returns the first error.
	return f.Name(), cmp.Or(err, f.Chmod(0o600), f.Sync(), f.Close(), os.Chtimes(f.Name(), stamp, stamp))
}
