package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/flavorless/flavorless/events"
	"github.com/flavorless/flavorless/ingest"
	"github.com/flavorless/flavorless/internal/objectkey"
)

const uploadsPrefix = "uploads/"

// source is a file to upload, and its key.
type source struct {
	file string // "-" is standard input
	key  string
}

// String returns the name of the file for messages.
func (s source) String() string {
	if s.file == "-" {
		return "standard input"
	}
	return shown(s.file)
}

// open returns the content of the file and its size in bytes, which is -1 for standard input. Reading from standard input
// fails when ctx ends, even while it waits.
func (s source) open(ctx context.Context, stdin io.Reader) (io.ReadCloser, int64, error) {
	if s.file == "-" {
		r, w := io.Pipe()
		context.AfterFunc(ctx, func() { w.CloseWithError(ctx.Err()) })
		go func() {
			_, err := io.Copy(w, stdin)
			w.CloseWithError(err)
		}()
		return r, -1, nil
	}
	f, err := os.Open(s.file)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// sources returns the files that the arguments name, with their keys. It makes sure that each can be uploaded before the first
// one is. The folder's files that it leaves out are in skipped.
func (f *uploadFlags) sources(args []string, named bool) (all []source, skipped []string, err error) {
	args, err = expand(args)
	if err != nil {
		return nil, nil, err
	}
	if f.as != "" && !slices.Contains(args, "-") {
		return nil, nil, usage("--as names standard input, and no argument is -; choose a file's key with --key")
	}
	for _, arg := range args {
		if arg == "-" {
			all = append(all, source{arg, f.as})
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			return nil, nil, usage("%w", err)
		case info.IsDir():
			found, others, err := below(arg)
			if err != nil {
				return nil, nil, err
			}
			all, skipped = append(all, found...), append(skipped, others...)
		case !info.Mode().IsRegular():
			return nil, nil, usage("%s is not a regular file; to upload what it gives: flavorless upload - --as NAME < %s",
				shown(arg), shown(arg))
		default:
			all = append(all, source{arg, filepath.Base(arg)})
		}
	}
	if f.keySet && len(all) > 1 {
		return nil, nil, usage("--key is for a single file, and there are %d", len(all))
	}
	seen := map[string]source{}
	for i := range all {
		s := &all[i]
		if err := f.setKey(s, f.stackName(named) != ""); err != nil {
			return nil, nil, err
		}
		if other, twice := seen[s.key]; twice && other.file == s.file {
			return nil, nil, usage("%s is named twice", s)
		} else if twice {
			return nil, nil, usage("%s and %s have the same key, %s; upload them one by one, or with --key", other, s, shown(s.key))
		}
		seen[s.key] = *s
	}
	return all, skipped, nil
}

// expand replaces patterns that no shell has expanded, as on Windows, by the names that match.
func expand(args []string) (names []string, err error) {
	for _, arg := range args {
		if _, err := os.Lstat(arg); !errors.Is(err, fs.ErrNotExist) || !strings.ContainsAny(arg, "*?[") {
			names = append(names, arg)
			continue
		}
		matches, err := filepath.Glob(arg)
		if err != nil {
			return nil, usage("%s is not a pattern of file names: %w", shown(arg), err)
		}
		if !strings.HasPrefix(filepath.Base(arg), ".") { // as in shells
			matches = slices.DeleteFunc(matches, func(name string) bool { return strings.HasPrefix(filepath.Base(name), ".") })
		}
		if len(matches) == 0 {
			return nil, usage("no file matches %s", shown(arg))
		}
		names = append(names, matches...)
	}
	return names, nil
}

// below returns the files in and below a folder whose names tell their format, and the names of the others. Keys keep the path
// relative to the folder. Names that begin with a dot are left out, and links to folders are not followed.
func below(dir string) (found []source, others []string, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		if strings.HasPrefix(entry.Name(), ".") {
			others = append(others, path)
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		info, err := os.Stat(path) // of what a link leads to
		if err != nil || !info.Mode().IsRegular() {
			others = append(others, path)
			return nil //nolint:nilerr // a link to nowhere is no file to upload
		}
		if _, err := ingest.FileTypeOf(entry.Name()); err != nil {
			others = append(others, path)
			return nil //nolint:nilerr // it may be anything
		}
		relative, err := filepath.Rel(dir, path)
		found = append(found, source{path, filepath.ToSlash(relative)})
		return err
	})
	switch {
	case err != nil:
		return nil, nil, usage("%w", err)
	case len(found) == 0:
		const suffixes = ".csv, .tsv, .json, .ndjson or .jsonl (and .gz or .zst)"
		return nil, nil, usage("no file below %s has a name that ends in %s", shown(dir), suffixes)
	}
	return found, others, nil
}

var uri = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// setKey completes the key of a file. The error says why the file can't be uploaded under that key: the bucket would refuse
// it, or no upload would come of it. Deployed tells whether the bucket is one of S3, which takes keys that no file can have.
func (f *uploadFlags) setKey(s *source, deployed bool) error {
	advice := "; choose another key with --key"
	if f.keySet {
		s.key = f.key
		switch {
		case uri.MatchString(s.key):
			return usage("--key %q is a URI; give only the part after %s", s.key, uploadsPrefix)
		case !deployed && strings.HasPrefix(s.key, "/"):
			return usage("--key %q begins with a slash; give only the part after %s", s.key, uploadsPrefix)
		}
		s.key = strings.TrimPrefix(s.key, uploadsPrefix)
		advice = "; choose another one"
	} else if s.key == "" {
		return usage("standard input has no name; choose one with --as, such as --as team.ndjson.gz, or with --key")
	}
	s.key = uploadsPrefix + s.key
	err := objectkey.CheckS3(s.key)
	if err == nil && !deployed {
		if err = objectkey.CheckText(s.key); err == nil {
			err = objectkey.CheckPath(s.key)
		}
	}
	base := s.key[strings.LastIndexByte(s.key, '/')+1:]
	switch {
	case err != nil:
	case base == "":
		err = errors.New("ends in a slash, which makes it a folder")
	default:
		if _, err := ingest.FileTypeOf(base); err != nil {
			var unknown *ingest.FileError
			if errors.As(err, &unknown) {
				err = errors.New(unknown.Failure.Reason)
			}
			return usage("%s: key %q: %w", s, s.key, err)
		}
		return nil
	}
	return usage("%s: the key %q %w%s", s, s.key, err, advice)
}

// checkIgnored returns an error if the server takes a file for no upload, so that following it would never end. A stack is taken to
// have the patterns that are the default.
func checkIgnored(sources []source, conn *connection) error {
	ignore := events.DefaultIgnoreList()
	if conn.stack == nil {
		ignore = conn.info.Ignore
	}
	for _, s := range sources {
		if ignore.Match(events.Object{Key: s.key, Size: 1}) {
			return usage("%s: the server ignores objects with names like that of the key %q (%s); choose another key with --key",
				s, s.key, strings.Join(ignore, " "))
		}
	}
	return nil
}

// skippedText says which files of a folder are not uploaded.
func skippedText(names []string) string {
	const most = 5
	var list []string
	for _, name := range names[:min(most, len(names))] {
		list = append(list, shown(name))
	}
	text := fmt.Sprintf("skipped %s (not a regular file, no known suffix, or a dot at the beginning of the name): %s",
		count(int64(len(names)), "file"), strings.Join(list, ", "))
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
