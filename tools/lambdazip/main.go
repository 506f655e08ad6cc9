// Command lambdazip cross-compiles Lambda functions and packs each into a zip file for the runtime provided.al2023:
// one executable named bootstrap. The same sources give the same bytes, so that deploying without a change does
// nothing. It fails if a function is too large, because a function's size determines the time of its cold start.
//
//	go run ./tools/lambdazip -o .build ./cmd/lambda/...
package main

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func main() {
	c := config{out: ".build", arch: "arm64", limits: limits{"": 15 << 20}}
	flag.StringVar(&c.out, "o", c.out, "`folder` for the zips")
	flag.StringVar(&c.arch, "arch", c.arch, "`GOARCH` to build for; the deployment needs arm64")
	flag.Var(c.limits, "limit", "maximum size of each function in `MB`, or of one as name=MB; repeatable (default 15)")
	flag.Parse()
	if err := run(c, flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "lambdazip:", err)
		os.Exit(1)
	}
}

type config struct {
	out    string
	arch   string // GOARCH
	limits limits
}

// run packs every main package that the patterns name.
func run(c config, patterns []string, stdout io.Writer) error {
	if len(patterns) == 0 {
		return errors.New("no packages given; ./cmd/lambda/... names all functions")
	}
	// go build names each binary after the folder of its package.
	binaries := filepath.Join(c.out, c.arch)
	if err := os.RemoveAll(binaries); err != nil {
		return err
	}
	if err := os.MkdirAll(binaries, 0o750); err != nil {
		return err
	}
	if err := build(binaries, c.arch, patterns); err != nil {
		return err
	}
	built, err := os.ReadDir(binaries)
	if err != nil {
		return err
	}
	var failures []error
	for _, b := range built {
		name := b.Name()
		size, zipped, err := pack(filepath.Join(binaries, name), filepath.Join(c.out, name+".zip"))
		if err != nil {
			return fmt.Errorf("packing %s: %w", name, err)
		}
		fmt.Fprintf(stdout, "%-12s %6.2f MB, zipped %5.2f MB\n", name, float64(size)/(1<<20), float64(zipped)/(1<<20))
		if limit := c.limits.of(name); size > limit {
			failures = append(failures, fmt.Errorf("%s has %.2f MB, more than the limit of %.2f MB; see go version -m %s",
				name, float64(size)/(1<<20), float64(limit)/(1<<20), filepath.Join(binaries, name)))
		}
	}
	return errors.Join(failures...)
}

// build compiles all packages with one command, because they share most of their dependencies.
func build(dir, arch string, patterns []string) error {
	args := []string{
		"build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=",
		"-o", dir + string(filepath.Separator),
	}
	cmd := exec.Command("go", append(args, patterns...)...) //nolint:gosec // developers name the patterns
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}

// pack writes a zip file with one executable, and returns the sizes of both. The time and the compression level are
// fixed, so that the bytes depend only on the executable.
func pack(binary, to string) (size, zipped int64, err error) {
	in, err := os.Open(binary)
	if err != nil {
		return 0, 0, err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()

	w := zip.NewWriter(out)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		return flate.NewWriter(w, flate.BestCompression)
	})
	modified := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: modified}
	header.SetMode(0o755)
	entry, err := w.CreateHeader(header)
	if err != nil {
		return 0, 0, err
	}
	if size, err = io.Copy(entry, in); err != nil {
		return 0, 0, err
	}
	if err := w.Close(); err != nil {
		return 0, 0, err
	}
	zipped, err = out.Seek(0, io.SeekCurrent)
	return size, zipped, err
}

// limits are maximum sizes in bytes by function; the one of "" is for all others.
type limits map[string]int64

func (l limits) of(name string) int64 {
	if n, ok := l[name]; ok {
		return n
	}
	return l[""]
}

// String implements flag.Value.
func (l limits) String() string { return "" }

// Set implements flag.Value.
func (l limits) Set(s string) error {
	name, mb, found := strings.Cut(s, "=")
	if !found {
		name, mb = "", s
	}
	n, err := strconv.ParseFloat(mb, 64)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a number of MB", mb)
	}
	l[name] = int64(n * (1 << 20))
	return nil
}
