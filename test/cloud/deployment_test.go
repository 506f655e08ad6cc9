package cloud_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/flavorless/flavorless/internal/issuer"
	"github.com/flavorless/flavorless/test/cloud"
	"github.com/flavorless/flavorless/test/dynamolocal"
	"github.com/flavorless/flavorless/test/moto"
)

// TestDeployment deploys the packaged stack once, and uses it. The parts depend on one another, so they run in this
// order and all together.
func TestDeployment(t *testing.T) {
	d := deploy(t)
	for _, part := range []struct {
		name string
		test func(*testing.T, *deployment)
	}{
		{"the talk's team", testTeam},
		{"all routes with one token, in every order", testOneToken},
		{"refusals", testRefusals},
		{"public routes", testPublic},
		{"permission to subscribe", testSubscribing},
		{"rejected rows", testRejects},
		{"duplicate event", testDuplicate},
		{"deleted object", testObjectGone},
		{"poison message", testPoison},
		{"poison change", testPoisonChange},
		{"message that fails every time", testExhausted},
		{"event that fails every time", testIngestFails},
		{"file that needs several invocations", testResumed},
		{"file with forty continuations", testLoop},
		{"concurrent write", testRace},
		{"long report whose storing fails", testLongReport},
		{"large files", testLarge},
		{"service that does not answer", testHung},
		{"nothing left over", testNothingLeft},
		{"roles", testRoles},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.test(t, d) }) {
			return
		}
	}
}

// root is the folder of the repository.
const root = "../.."

// The identity provider's parameters of the deployment.
const (
	audience = "flavorless-cloud-test"
	scope    = "flavors:read"
)

// deployment is the deployed stack with its identity provider.
type deployment struct {
	*cloud.Stack
	issuer *issuer.Issuer
	token  string // valid
}

// needTools skips a test that needs more than Go, unless `make test` has installed everything.
func needTools(t *testing.T) {
	t.Helper()
	switch {
	case os.Getenv("FLAVORLESS_TEST_TOOLS") == "":
		t.Skip("this test needs moto, DynamoDB Local, osls and the aws command line; run it with: make test")
	case runtime.GOOS != "linux":
		t.Skip("functions are Linux programs")
	}
}

// deploy packages the repository for this machine's processor, as `make package` does for Lambda's, and deploys it.
func deploy(t *testing.T) *deployment {
	t.Helper()
	needTools(t)
	identity, err := issuer.Open(issuer.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	keys := http.NewServeMux()
	keys.Handle(issuer.JWKSPath, identity)
	provider := httptest.NewServer(keys)
	t.Cleanup(provider.Close)

	var template []byte
	dir, packaged := t.TempDir(), make(chan error, 1)
	go func() { // while the emulators start
		var err error
		template, err = pack(t.Context(), dir, map[string]string{
			"tokenIssuer": identity.Name(), "audience": audience, "jwksUri": provider.URL + issuer.JWKSPath,
			"requiredScope": scope,
		})
		packaged <- err
	}()
	emulator, local := &moto.Server{}, &dynamolocal.Server{}
	t.Cleanup(emulator.Stop)
	t.Cleanup(local.Stop)
	emulators := cloud.Emulators{Moto: emulator.URL(t), DynamoDB: local.Endpoint(t)}
	if err := <-packaged; err != nil {
		t.Fatal(err)
	}
	d := &deployment{issuer: identity}
	d.Stack, err = cloud.Deploy(t.Context(), cloud.Config{
		Template: template, Zips: filepath.Join(dir, ".build"), Dir: filepath.Join(dir, "functions"), Emulators: emulators,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log("refused requests:", d.Proxy.Refused())
			for name, f := range d.Functions {
				for _, line := range f.Logs() {
					if !strings.Contains(line, `"_aws"`) { // metrics
						t.Log(name, line)
					}
				}
			}
		}
	})
	d.token = d.sign(t, "reader", scope, time.Hour)
	return d
}

// pack builds the functions' zips and packages the stack in dir, with osls. It returns the template.
func pack(ctx context.Context, dir string, params map[string]string) ([]byte, error) {
	repository, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	zips := filepath.Join(dir, ".build")
	build := exec.CommandContext(ctx, "go", "run", "./tools/lambdazip", "-arch", runtime.GOARCH, "-o", zips,
		"./cmd/lambda/...")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the functions: %w\n%s", err, out)
	}
	service, err := os.ReadFile(filepath.Join(repository, "serverless.yml"))
	err = errors.Join(err, os.WriteFile(filepath.Join(dir, "serverless.yml"), service, 0o600),
		os.CopyFS(filepath.Join(dir, "resources"), os.DirFS(filepath.Join(repository, "resources"))))
	if err != nil {
		return nil, err
	}
	args := []string{filepath.Join(repository, "node_modules/osls/bin/serverless.js"), "package", "--region", cloud.Region}
	for name, value := range params {
		args = append(args, "--param", name+"="+value)
	}
	osls := exec.CommandContext(ctx, "node", args...)
	// The environment has neither credentials nor a configuration of the developer.
	osls.Dir, osls.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NO_COLOR=1",
		"AWS_EC2_METADATA_DISABLED=true"}
	if out, err := osls.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("osls package: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, ".serverless", "cloudformation-template-update-stack.json"))
}
