package cloud

import (
	"os"
	"os/exec"
	"syscall"
)

// prepare puts the program into a process group of its own, and sees to it that it never survives the test.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func freeze(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGSTOP) } // it may have ended
func thaw(p *os.Process)   { _ = syscall.Kill(-p.Pid, syscall.SIGCONT) }
func kill(p *os.Process)   { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }
