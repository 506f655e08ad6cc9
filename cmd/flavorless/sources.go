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

// String returns the name of the file, for messages.
func (s source) String() string {
	if s.file == "-" {
		return "standard input"
	}
	return displayName(s.file)
}

// open returns the content of the file and its size in bytes, or -1 for standard input. Reading standard input fails
// when ctx ends, even if it is blocked.
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

// sources returns the files that the arguments name, with keys that the bucket accepts. Files of folders that are not
// uploaded are in skipped.
func (f *uploadFlags) sources(args []string) (all []source, skipped []string, err error) {
	args, err = expandPatterns(args)
	if err != nil {
		return nil, nil, err
	}
	if f.as != "" && !slices.Contains(args, "-") {
		return nil, nil, usage("--as names standard input, but no argument is -; to choose the key of a file, use --key")
	}
	for _, arg := range args {
		if arg == "-" {
			all = append(all, source{arg, f.as})
			continue
		}
		info, err := os.Stat(arg)
		switch {
		case err != nil:
			return nil, nil, readError(err)
		case info.IsDir():
			found, others, err := walkFolder(arg)
			if err != nil {
				return nil, nil, err
			}
			all, skipped = append(all, found...), append(skipped, others...)
		case !info.Mode().IsRegular():
			return nil, nil, usage("%s is not a regular file; to upload its output: flavorless upload - --as NAME%s < %s",
				displayName(arg), f.targetFlags(), shellWord(arg))
		default:
			all = append(all, source{arg, filepath.Base(arg)})
		}
	}
	if f.keySet && len(all) > 1 {
		return nil, nil, usage("--key is for a single file, but there are %d; upload them one by one, or without --key",
			len(all))
	}
	seen := map[string]source{}
	for i := range all {
		s := &all[i]
		if err := f.setKey(s, f.stackName() != ""); err != nil {
			return nil, nil, err
		}
		if other, found := seen[s.key]; found && other.file == s.file {
			return nil, nil, usage("%s is given twice; give it once", s)
		} else if found {
			return nil, nil, usage("%s and %s have the same key, %s; upload them one by one, with --key",
				other, s, displayName(s.key))
		}
		seen[s.key] = *s
	}
	return all, skipped, nil
}

// expandPatterns replaces patterns that the shell did not expand, as on Windows, by the names that match.
func expandPatterns(args []string) (names []string, err error) {
	for _, arg := range args {
		if _, err := os.Lstat(arg); !errors.Is(err, fs.ErrNotExist) || !strings.ContainsAny(arg, "*?[") {
			names = append(names, arg)
			continue
		}
		matches, err := filepath.Glob(arg)
		if err != nil {
			return nil, usage("expanding the pattern %s: %w; give the names of files instead", displayName(arg), err)
		}
		if !strings.HasPrefix(filepath.Base(arg), ".") { // as shells do
			matches = slices.DeleteFunc(matches, func(name string) bool { return strings.HasPrefix(filepath.Base(name), ".") })
		}
		if len(matches) == 0 {
			return nil, usage("no file matches the pattern %s; check it with ls", displayName(arg))
		}
		names = append(names, matches...)
	}
	return names, nil
}

// walkFolder returns the files in and below a folder whose suffix is that of a format, with their relative paths as
// keys, and the names of all other files. Names that begin with a dot count as other files. Links to folders are not
// followed.
func walkFolder(dir string) (found []source, others []string, err error) {
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
		info, err := os.Stat(path) // follows a link
		if err != nil || !info.Mode().IsRegular() {
			others = append(others, path)
			return nil //nolint:nilerr // skips a broken link
		}
		if _, err := ingest.FileTypeOf(entry.Name()); err != nil {
			others = append(others, path)
			return nil //nolint:nilerr // skips a file of another format
		}
		relative, err := filepath.Rel(dir, path)
		found = append(found, source{path, filepath.ToSlash(relative)})
		return err
	})
	switch {
	case err != nil:
		return nil, nil, readError(err)
	case len(found) == 0:
		return nil, nil, usage("the folder %s has no file whose name ends in .csv, .tsv, .json, .ndjson or .jsonl "+
			"(optionally with .gz or .zst); rename your files, or give other ones", displayName(dir))
	}
	return found, others, nil
}

var uri = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// setKey completes the key of a file. It returns an error if the bucket would refuse the key, or if the object would
// not be ingested. A deployed stack has a bucket of S3, which accepts keys that can't be paths of files.
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
		advice = "; choose another key"
	} else if s.key == "" {
		return usage("standard input has no name; give one with --as, such as --as team.ndjson.gz, or with --key")
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
		err = errors.New("ends in a slash, so it is the key of a folder")
	default:
		if _, err := ingest.FileTypeOf(base); err != nil {
			var unknown *ingest.FileError
			if errors.As(err, &unknown) {
				err = errors.New(unknown.Failure.Reason)
			}
			return usage("uploading %s as %q: %w", s, s.key, err)
		}
		return nil
	}
	return usage("uploading %s: the key %q %w%s", s, s.key, err, advice)
}

// checkIgnored returns an error if the server ignores the key of a file, because following its upload would never end.
// It assumes that a stack has the default patterns.
func checkIgnored(sources []source, conn *connection) error {
	ignore := events.DefaultIgnoreList()
	if conn.stack == nil {
		ignore = conn.info.Ignore
	}
	for _, s := range sources {
		if ignore.Match(events.Object{Key: s.key, Size: 1}) {
			return usage("uploading %s: the server ignores the key %q because of its file name (patterns: %s); "+
				"choose another key with --key",
				s, s.key, strings.Join(ignore, " "))
		}
	}
	return nil
}

// skippedText returns the message about files of folders that are not uploaded.
func skippedText(names []string) string {
	const maxNames = 5
	var list []string
	for _, name := range names[:min(maxNames, len(names))] {
		list = append(list, displayName(name))
	}
	text := fmt.Sprintf("skipped %s (not regular, without a known suffix, or with a name that begins with a dot): %s",
		count(int64(len(names)), "file"), strings.Join(list, ", "))
	if more := len(names) - maxNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
