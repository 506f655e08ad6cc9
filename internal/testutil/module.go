package testutil

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ModuleRoot returns the folder of go.mod, which is the working directory or one of its parents.
func ModuleRoot() (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder, nil
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", errors.New("the working directory is not below a go.mod")
		}
		folder = parent
	}
}

// Build compiles packages, which are paths relative to the module's root, into out, a file or an existing folder.
// Args are further arguments of go build. The race detector is never on: programs run at the speed that users see.
func Build(ctx context.Context, out string, args []string, packages ...string) error {
	root, err := ModuleRoot()
	if err != nil {
		return err
	}
	if out, err = filepath.Abs(out); err != nil {
		return err
	}
	args = append(append([]string{"build", "-o", out}, args...), packages...)
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // tests name the packages
	cmd.Dir = root
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %v: %w\n%s", packages, err, output)
	}
	return nil
}
