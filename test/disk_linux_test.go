package test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/flavorless/flavorless/internal/testutil"
)

const fills = 10

// TestFullDisk runs the real program under uploads, on a disk that is full to its last byte again and again, wherever the
// program happens to be, and without the reserve that it otherwise keeps. It may be killed then, and started while there is no
// room. In the end all holds that holds after TestSIGKILL.
func TestFullDisk(t *testing.T) {
	if os.Getenv(ownMounts) == "" {
		withOwnMounts(t)
		return
	}
	s := newSiege(t)
	d := newDisk(t, s.dir)
	s.args, s.small = []string{"--min-free", "0"}, true
	s.start()
	s.ready()
	s.begin(2_000)
	for range fills {
		s.ready()
		s.bucket.await(3)
		failed := s.bucket.failed.Load()
		d.fill([]int64{0, 16 << 10, 256 << 10, 2 << 20}[s.random.IntN(4)])
		testutil.WaitFor(t, "the full disk to be noticed", func() bool {
			_, ready := s.info()
			return !ready || s.bucket.failed.Load() > failed
		})
		s.pause(time.Duration(s.random.IntN(1000)) * time.Millisecond)
		if s.random.IntN(3) == 0 {
			s.kill()
			s.start()
			s.begun()
		}
		d.makeRoom()
		s.startIfEnded()
	}
	s.end()
}

// startIfEnded begins another life if this one could not begin.
func (m *mortal) startIfEnded() {
	m.t.Helper()
	if _, ready := m.begun(); ready {
		return
	}
	err := m.life.Wait()
	if out := strings.Join(m.life.last, ""); m.life.ProcessState.ExitCode() != 2 || !strings.Contains(out, "make room") {
		m.t.Errorf("life %d on a full disk ended by itself: %v\n%s", m.lives, err, out)
	}
	m.bury()
	m.start()
}

// disk is one of the test's own, in memory, that can be resized.
type disk struct {
	t  *testing.T
	at string
}

const roomy = 2 << 30 // bytes that it could hold; it takes memory for what it does hold

func newDisk(t *testing.T, at string) *disk {
	t.Helper()
	d := &disk{t, at}
	err := os.Mkdir(at, 0o700)
	if err == nil {
		err = unix.Mount("flavorless", at, "tmpfs", 0, fmt.Sprintf("mode=0700,size=%d", roomy))
	}
	if errors.Is(err, fs.ErrPermission) {
		t.Skipf("mounting a disk of the test's own: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, unix.MNT_DETACH); err != nil { // the program may still be there
			t.Error(err)
		}
	})
	return d
}

// fill leaves so many bytes free, and no more.
func (d *disk) fill(free int64) {
	d.t.Helper()
	testutil.WaitFor(d.t, "the disk to be full", func() bool {
		var st unix.Statfs_t
		err := unix.Statfs(d.at, &st)
		if err == nil {
			err = d.resize(int64(st.Blocks-st.Bfree)*st.Bsize + free)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) { // which says that it has grown meanwhile
			d.t.Fatal(err)
		}
		return err == nil
	})
}

func (d *disk) makeRoom() {
	d.t.Helper()
	if err := d.resize(roomy); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) resize(bytes int64) error {
	return unix.Mount("", d.at, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", bytes))
}

// ownMounts is set in the process that has mounts of its own, which nobody else sees and which end with it.
const ownMounts = "FLAVORLESS_TEST_OWN_MOUNTS"

// withOwnMounts runs the test in such a process.
func withOwnMounts(t *testing.T) {
	t.Helper()
	timeout := time.Duration(0)
	if end, ok := t.Deadline(); ok {
		timeout = time.Until(end)
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+timeout.String())
	c.Env = append(os.Environ(), ownMounts+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if os.Geteuid() != 0 { // who may not mount may in a world of which they are root
		c.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := c.CombinedOutput()
	if c.Process == nil || bytes.Contains(out, []byte("--- SKIP: "+t.Name())) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this system lets the test have no disk of its own: %v\n%s", err, out)
		}
		t.Skipf("this system lets the test have no disk of its own: %v\n%s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
