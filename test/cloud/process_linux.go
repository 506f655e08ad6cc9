package cloud

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"syscall"
)

// prepare puts the program into a process group of its own, and sees to it that it never survives the test.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func freeze(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGSTOP) } // it may have ended
func thaw(p *os.Process)   { _ = syscall.Kill(-p.Pid, syscall.SIGCONT) }
func kill(p *os.Process)   { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

// peak gives the most memory the process ever held, in bytes; 0 if it has ended.
func peak(p *os.Process) int64 {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(p.Pid) + "/status")
	if err != nil {
		return 0
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kilobytes, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kilobytes << 10
}
