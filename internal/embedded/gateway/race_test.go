package gateway_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/embedded/gateway"
	"github.com/flavorless/flavorless/internal/testutil"
)

// writer prepares to store an object. It returns a function that stores it and returns the status of the answer.
type writer func(t *testing.T, srv *testServer, key string) (store func() int)

// writers are the ways to store an object.
var writers = map[string]writer{
	"PUT": func(t *testing.T, srv *testServer, key string) func() int {
		return func() int { return statusOrOK(srv.tryPut(t, key, []byte("x"))) }
	},
	"copy": func(t *testing.T, srv *testServer, key string) func() int {
		return func() int {
			err := srv.copy(t, bucket+"/source.csv", key)
			return statusOrOK(err)
		}
	},
	"completion": func(t *testing.T, srv *testServer, key string) func() int {
		complete := srv.parts(t, key, []byte("x"))
		return func() int {
			_, err := srv.s3.CompleteMultipartUpload(t.Context(), complete)
			return statusOrOK(err)
		}
	},
	"form": func(t *testing.T, srv *testServer, key string) func() int {
		r := form(t, headers{"key": key}, time.Now(), "x")
		return func() int {
			if got := srv.send(t, r).status; got != 204 {
				return got
			}
			return 200
		}
	},
	"marker": func(t *testing.T, srv *testServer, key string) func() int {
		return func() int { return statusOrOK(srv.tryPut(t, key, nil)) }
	},
}

// statusOrOK returns the HTTP status of an SDK error, or 200 for no error.
func statusOrOK(err error) int {
	if err == nil {
		return 200
	}
	return status(err)
}

// TestConcurrentConflictingKeys stores pairs of keys at the same time, of which one needs the other's path as a folder.
// One is stored, and the other is refused with 409.
func TestConcurrentConflictingKeys(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	const pairs = 30
	for name, change := range map[string]func(*gateway.Config){
		"attributes": func(*gateway.Config) {},
		"sidecar":    func(c *gateway.Config) { mkdir(t, filepath.Join(c.Dir, "metadata")) },
		"sync":       func(c *gateway.Config) { c.NoSync = false },
	} {
		for _, test := range []struct{ file, other, suffix string }{
			{"PUT", "PUT", "/x.csv"},
			{"PUT", "PUT", "/deep/er/x.csv"},
			{"copy", "PUT", "/x.csv"},
			{"PUT", "copy", "/x.csv"},
			{"PUT", "completion", "/x.csv"},
			{"completion", "PUT", "/x.csv"},
			{"completion", "completion", "/x.csv"},
			{"PUT", "form", "/x.csv"},
			{"form", "PUT", "/x.csv"},
			{"PUT", "marker", "/"},
			{"completion", "marker", "/"},
			{"PUT", "marker", "/deep/"},
		} {
			t.Run(name+": "+test.file+" and "+test.other+" of "+test.suffix, func(t *testing.T) {
				t.Parallel()
				srv := start(t, change)
				srv.put(t, "source.csv", "x")
				var want []string
				bad := 0
				for i := range pairs {
					file := fmt.Sprintf("uploads/%d", i)
					other := file + test.suffix
					storeFile, storeOther := writers[test.file](t, srv, file), writers[test.other](t, srv, other)
					gotFile, gotOther := atOnce(storeFile, storeOther)
					switch {
					case gotFile == 200 && gotOther == 409:
						want = append(want, file)
					case gotFile == 409 && gotOther == 200:
						want = append(want, other)
					default:
						bad++
						t.Logf("%s and %s are answered %d and %d, want one 200 and one 409", file, other, gotFile, gotOther)
					}
				}
				if bad > 0 {
					t.Errorf("%d of %d pairs got other answers, want one 200 and one 409 each", bad, pairs)
				}
				got := srv.listed(t, "uploads/")
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("listed %d keys, want the %d keys that were answered 200:\ngot  %q\nwant %q", len(got), len(want), got,
						want)
				}
				announced := slices.DeleteFunc(slices.Clone(want), func(key string) bool { return strings.HasSuffix(key, "/") })
				if got := srv.keys(); len(got) != len(announced) {
					t.Errorf("announced %d keys, want %d", len(got), len(announced))
				}
			})
		}
	}
}

// atOnce calls both functions at the same time.
func atOnce(a, b func() int) (int, int) {
	var results [2]int
	var ready, done sync.WaitGroup
	ready.Add(2)
	for i, f := range []func() int{a, b} {
		done.Go(func() {
			ready.Done()
			ready.Wait()
			results[i] = f()
		})
	}
	done.Wait()
	return results[0], results[1]
}
