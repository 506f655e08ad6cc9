package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/flavorless/flavorless/events"
)

// fileObjects is a bucket with one object, the file of this path.
type fileObjects string

func (f fileObjects) Open(_ context.Context, _ events.Object, offset int64) (io.ReadCloser, map[string]string, error) {
	in, err := os.Open(string(f))
	if err == nil {
		_, err = in.Seek(offset, io.SeekStart)
	}
	return in, nil, err
}

// nowhere discards messages and records.
type nowhere struct{}

func (nowhere) Publish(_ context.Context, m []events.Message) []error { return make([]error, len(m)) }

func (nowhere) Begin(_ context.Context, o events.Object, sort bool) (events.Upload, error) {
	return events.Upload{ID: o.UploadID(), Status: events.Publishing, Sorted: sort}, nil
}

func (nowhere) BeginComparing(context.Context, string) (bool, error) { return true, nil }

func (nowhere) Seal(context.Context, string, events.ReadSummary) (*events.Upload, error) {
	return nil, nil
}

// fileReports stores reports in a folder, because the parts of a report are read again when they are joined.
type fileReports string

func (f fileReports) Put(_ context.Context, key string, body io.Reader) (string, error) {
	path := filepath.Join(string(f), key)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err != nil {
		return "", err
	}
	out, err := os.Create(path)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(out, body)
	return key, errors.Join(err, out.Close())
}

func (f fileReports) Get(_ context.Context, key string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(f), key))
}

func (f fileReports) OpenAt(_ context.Context, key string) (io.ReaderAt, int64, error) {
	in, err := os.Open(filepath.Join(string(f), key))
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", events.ErrObjectGone, err)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := in.Stat()
	if err != nil {
		return nil, 0, err
	}
	return in, info.Size(), nil
}

func (f fileReports) Remove(_ context.Context, prefix string) error {
	return os.RemoveAll(filepath.Join(string(f), prefix)) // the prefixes end with a slash
}
