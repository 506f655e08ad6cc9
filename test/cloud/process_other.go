//go:build !linux

package cloud

import (
	"os"
	"os/exec"
)

// Bootstraps are Linux programs; elsewhere the package only has to compile.

func prepare(*exec.Cmd) {}

func freeze(*os.Process) {}
func thaw(*os.Process)   {}
func kill(p *os.Process) { _ = p.Kill() }
