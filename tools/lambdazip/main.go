// Command lambdazip cross-compiles the Lambda functions and packs each into a zip of its own, as the runtime
// provided.al2023 wants it: one executable named bootstrap. The same sources give the same bytes, so that a
// deployment without a change is none. Larger ones than agreed fail: the size of a function is the time of its cold
// start.
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
	flag.StringVar(&c.arch, "arch", c.arch, "`GOARCH` to build for; another than serverless.yml states is for running them in tests")
	flag.Var(c.limits, "limit", "the most `MB` a function may have; name=MB for one of them; may be repeated (default 15)")
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
		return errors.New("which packages? ./cmd/lambda/... names all functions")
	}
	// A folder of nothing but binaries: go build puts each there under the name of its folder.
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
			failures = append(failures, fmt.Errorf("%s has %.2f MB, more than the %.2f it may have; `go version -m %s` tells what is in it",
				name, float64(size)/(1<<20), float64(limit)/(1<<20), filepath.Join(binaries, name)))
		}
	}
	return errors.Join(failures...)
}

// build compiles all of them in one go: they share nearly everything.
func build(dir, arch string, patterns []string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags", "lambda.norpc", "-ldflags", "-s -w -buildid=", "-o", dir + string(filepath.Separator)}
	cmd := exec.Command("go", append(args, patterns...)...) //nolint:gosec // the patterns are the developer's own
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	return nil
}

// pack writes a zip with that one executable, and gives the sizes of both. Time and compression level are fixed: the
// bytes depend on the binary's alone.
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
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	header := &zip.FileHeader{Name: "bootstrap", Method: zip.Deflate, Modified: time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)}
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

// limits are by function, in bytes; that of "" is everybody else's.
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
