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

// TestFullDisk fills the disk of the real program to its last byte, again and again, while files are uploaded, and
// without the reserve that the program otherwise keeps free. The program may be killed then, and started while the
// disk is full. In the end everything must hold that [TestSIGKILL] checks.
func TestFullDisk(t *testing.T) {
	testutil.SkipIfShort(t)
	t.Parallel()
	if os.Getenv(mountNamespaceEnv) == "" {
		runInMountNamespace(t)
		return
	}
	c := newCrashTest(t)
	s, u := c.supervisor, c.uploader
	d := mountDisk(t, s.data)
	s.args, s.diskFull = append(s.args, "--min-free", "0"), true
	s.start()
	s.ready()
	c.begin(2_000)
	for range fills {
		s.ready()
		u.waitForUploads(3)
		failed := u.failed.Load()
		d.fill([]int64{0, 16 << 10, 256 << 10, 2 << 20}[c.random.IntN(4)])
		testutil.WaitFor(t, "the program to notice the full disk", func() bool {
			_, ready := s.info()
			return !ready || u.failed.Load() > failed
		})
		time.Sleep(time.Duration(c.random.IntN(1000)) * time.Millisecond)
		if c.random.IntN(3) == 0 {
			s.kill()
			s.start()
			s.readyOrEnded()
		}
		d.free()
		s.restartIfEnded()
	}
	c.finish()
}

// restartIfEnded starts another process if the full disk kept the current one from starting.
func (s *supervisor) restartIfEnded() {
	s.t.Helper()
	if _, ready := s.readyOrEnded(); ready {
		return
	}
	err := s.process.cmd.Wait()
	const environment = 2 // the exit code of what the user has to fix
	if code := s.process.cmd.ProcessState.ExitCode(); code != environment {
		s.t.Errorf("process %d ended on a full disk with exit code %d (%v), want %d\n%s",
			s.starts, code, err, environment, strings.Join(s.process.tail, ""))
	}
	s.checkLog()
	s.start()
}

// disk is a file system in memory that only this test uses, and whose size can be changed.
type disk struct {
	t    *testing.T
	path string
}

const diskSize = 2 << 30 // bytes; the disk takes only as much memory as its files

func mountDisk(t *testing.T, path string) *disk {
	t.Helper()
	d := &disk{t, path}
	err := os.Mkdir(path, 0o700)
	if err == nil {
		err = unix.Mount("flavorless", path, "tmpfs", 0, fmt.Sprintf("mode=0700,size=%d", diskSize))
	}
	if errors.Is(err, fs.ErrPermission) {
		t.Skipf("mounting a disk for the test: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil { // detached, because the program may still use it
			t.Error(err)
		}
	})
	return d
}

// fill makes the disk so small that it has exactly free bytes left.
func (d *disk) fill(free int64) {
	d.t.Helper()
	testutil.WaitFor(d.t, "the disk to be full", func() bool {
		var st unix.Statfs_t
		err := unix.Statfs(d.path, &st)
		if err == nil {
			err = d.resize(int64(st.Blocks-st.Bfree)*st.Bsize + free)
		}
		if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: its files have grown in the meantime
			d.t.Fatal(err)
		}
		return err == nil
	})
}

// free gives the disk its full size again.
func (d *disk) free() {
	d.t.Helper()
	if err := d.resize(diskSize); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) resize(bytes int64) error {
	return unix.Mount("", d.path, "", unix.MS_REMOUNT, fmt.Sprintf("size=%d", bytes))
}

// mountNamespaceEnv is set in the process that has a mount namespace of its own: no other process sees its mounts,
// and they end with it.
const mountNamespaceEnv = "FLAVORLESS_TEST_OWN_MOUNTS"

// runInMountNamespace runs the test in such a process.
func runInMountNamespace(t *testing.T) {
	t.Helper()
	timeout := time.Duration(0)
	if end, ok := t.Deadline(); ok {
		timeout = time.Until(end)
	}
	c := exec.CommandContext(t.Context(), os.Args[0],
		"-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout="+timeout.String())
	c.Env = append(os.Environ(), mountNamespaceEnv+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
	if os.Geteuid() != 0 { // only root may mount; in a user namespace of its own, the process is root
		c.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := c.CombinedOutput()
	if c.Process == nil || bytes.Contains(out, []byte("--- SKIP: "+t.Name())) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("this system does not let a test mount a disk: %v\n%s", err, out)
		}
		t.Skipf("this system does not let a test mount a disk: %v\n%s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
