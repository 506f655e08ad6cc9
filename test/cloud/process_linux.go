package cloud

import (
	"os"
	"os/exec"
	"syscall"
)

// prepare puts the program into its own process group, and has the kernel kill it when the test ends.
func prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

func freeze(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGSTOP) } // an error means that it has ended
func thaw(p *os.Process)   { _ = syscall.Kill(-p.Pid, syscall.SIGCONT) }
func kill(p *os.Process)   { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }
