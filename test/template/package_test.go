package template_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// root is the repository.
const root = "../.."

// needTools skips a test that needs more than Go, unless `make test` has seen to it that all is there.
func needTools(t testing.TB) {
	t.Helper()
	if os.Getenv("FLAVORLESS_TEST_TOOLS") == "" {
		t.Skip("this test needs osls, cfn-lint and more that test/tools.sh installs; run it with: make test")
	}
}

// compiled is the template of the stage that serverless.yml brings for tests. It is made once, and read by all tests.
var compiled = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "flavorless-template-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return osls(context.Background(), dir)
})

// compiledTemplate gives a template of the test's own to break.
func compiledTemplate(t testing.TB) *template {
	t.Helper()
	needTools(t)
	src, err := compiled()
	if err != nil {
		t.Fatalf("serverless.yml does not package: %v", err)
	}
	return parse(t, src)
}

// osls packages a copy of the deployment in dir, with something for each function's zip: what is in them is lambdazip's
// affair. It gives the template. An error has what osls said.
func osls(ctx context.Context, dir string, args ...string) ([]byte, error) {
	repository, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(filepath.Join(dir, "resources"), os.DirFS(filepath.Join(repository, "resources"))); err != nil {
		return nil, err
	}
	service, err := os.ReadFile(filepath.Join(repository, "serverless.yml"))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "serverless.yml"), service, 0o600); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, ".build"), 0o700); err != nil {
		return nil, err
	}
	for _, m := range artifact.FindAllSubmatch(service, -1) {
		if err := os.WriteFile(filepath.Join(dir, string(m[1])), []byte("a zip"), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.CommandContext(ctx, "node", append([]string{filepath.Join(repository, "node_modules/osls/bin/serverless.js"), "package"}, args...)...)
	cmd.Dir = dir
	// Nothing of the developer's own: neither credentials nor a configuration.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NO_COLOR=1", "AWS_EC2_METADATA_DISABLED=true"}
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return nil, &oslsError{said: said.String(), err: err}
	}
	return os.ReadFile(filepath.Join(dir, ".serverless", "cloudformation-template-update-stack.json"))
}

var artifact = regexp.MustCompile(`artifact: (\.build/[a-z]+\.zip)`)

type oslsError struct {
	said string
	err  error
}

func (e *oslsError) Error() string { return e.err.Error() + "\n" + e.said }

func (e *oslsError) Unwrap() error { return e.err }

// TestIdentityProviderMustBeStated: a stage that forgets one of them must not be deployed with another's.
func TestIdentityProviderMustBeStated(t *testing.T) {
	needTools(t)
	stated := map[string]string{"tokenIssuer": "https://id.example/", "audience": "flavors", "jwksUri": "https://id.example/keys"}
	for _, test := range []struct {
		missing []string
		want    string
	}{
		{[]string{"tokenIssuer"}, "does not state tokenIssuer:"},
		{[]string{"audience"}, "does not state audience:"},
		{[]string{"jwksUri"}, "does not state jwksUri:"},
		{[]string{"tokenIssuer", "audience", "jwksUri"}, "does not state tokenIssuer and audience and jwksUri:"},
	} {
		t.Run("without "+strings.Join(test.missing, ", "), func(t *testing.T) {
			args := []string{"--stage", "unheardof"}
			for param, value := range stated {
				if !slices.Contains(test.missing, param) {
					args = append(args, "--param", param+"="+value)
				}
			}
			if _, err := osls(t.Context(), t.TempDir(), args...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("packaged with error %v, want one with %q", err, test.want)
			}
		})
	}
	t.Run("with all three", func(t *testing.T) {
		args := []string{"--stage", "unheardof"}
		for param, value := range stated {
			args = append(args, "--param", param+"="+value)
		}
		src, err := osls(t.Context(), t.TempDir(), args...)
		if err != nil {
			t.Fatalf("a stage that states all does not package: %v", err)
		}
		tpl := parse(t, src)
		for _, complaint := range judge(tpl, rules...) {
			t.Error(complaint)
		}
		got, _ := tpl.get("AuthorizerLambdaFunction", "Environment", "Variables").(map[string]any)
		for variable, param := range map[string]string{"TOKEN_ISSUER": "tokenIssuer", "AUDIENCE": "audience", "JWKS_URI": "jwksUri"} {
			if got[variable] != stated[param] {
				t.Errorf("%s is %v, want %s", variable, got[variable], stated[param])
			}
		}
	})
}

// TestSubscriberAccounts checks that queues and functions of the named accounts may be subscribed, and always those of the
// stack's own account, which `flavorless watch --stack` needs.
func TestSubscriberAccounts(t *testing.T) {
	needTools(t)
	src, err := osls(t.Context(), t.TempDir(), "--param", "subscriberAccounts=210987654321")
	if err != nil {
		t.Fatal(err)
	}
	tpl := parse(t, src)
	for _, complaint := range judge(tpl, rules...) {
		t.Error(complaint)
	}
	var got []string
	for _, s := range topicStatements(tpl, "ChangesTopic") {
		for _, endpoint := range list(at(s.condition, "StringNotLike", "sns:Endpoint")) {
			sub := list(at(endpoint, "Fn::Sub"))
			got = append(got, strings.ReplaceAll(text(sub[0]), "${account}", spelled(at(sub[1], "account"))))
		}
	}
	want := []string{
		"arn:${AWS::Partition}:sqs:*:${AWS::AccountId}:*", "arn:${AWS::Partition}:lambda:*:${AWS::AccountId}:function:*",
		"arn:${AWS::Partition}:sqs:*:210987654321:*", "arn:${AWS::Partition}:lambda:*:210987654321:function:*",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("endpoints that may be subscribed (-want +got):\n%s", diff)
	}
}

// TestOptions packages with all that is off by default.
func TestOptions(t *testing.T) {
	needTools(t)
	src, err := osls(t.Context(), t.TempDir(), "--param", "maxReadUnits=8000", "--param", "monthlyBudget=50", "--param", "ingestConcurrency=50",
		"--param", "readerConcurrency=100", "--param", "announceParallelization=10", "--param", "listRequestsPerSecond=3", "--param", "listRequestBurst=5")
	if err != nil {
		t.Fatal(err)
	}
	tpl := parse(t, src)
	for _, complaint := range judge(tpl, rules...) {
		t.Error(complaint)
	}
	for _, test := range []struct {
		id   string
		path []string
		want any
	}{
		{"FavoritesTable", []string{"OnDemandThroughput", "MaxReadRequestUnits"}, 8000.0},
		{"Budget", []string{"Budget", "BudgetLimit", "Amount"}, 50.0},
		{"Budget", []string{"Budget", "BudgetName", "Fn::Sub"}, "flavorless-test-${AWS::Region}"},
		{"IngestLambdaFunction", []string{"ReservedConcurrentExecutions"}, 50.0},
		{"TeamLambdaFunction", []string{"ReservedConcurrentExecutions"}, 100.0},
		{"LookupLambdaFunction", []string{"ReservedConcurrentExecutions"}, 100.0},
		{"UploadsLambdaFunction", []string{"ReservedConcurrentExecutions"}, 100.0},
		{"AuthorizerLambdaFunction", []string{"ReservedConcurrentExecutions"}, 100.0},
		{announceMapping, []string{"ParallelizationFactor"}, 10.0},
	} {
		if got := tpl.get(test.id, test.path...); got != test.want {
			t.Errorf("%s of %s is %v, want %v", strings.Join(test.path, "."), test.id, got, test.want)
		}
	}
	file := filepath.Join(t.TempDir(), "template.json")
	if err := os.WriteFile(file, src, 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.CommandContext(t.Context(), "cfn-lint", "--regions", "us-east-1", "--ignore-checks", "W3005", "--template", file).CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, said)
	}
}

// TestBadBudget packages stages with budgets that would be of no use.
func TestBadBudget(t *testing.T) {
	needTools(t)
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"nobody is told", []string{"--stage", "unheardof", "--param", "tokenIssuer=https://id.example/", "--param", "audience=flavors",
			"--param", "jwksUri=https://id.example/keys", "--param", "monthlyBudget=50"}, "monthlyBudget needs alarmEmail"},
		{"not a number", []string{"--param", "monthlyBudget=$50"}, `monthlyBudget is "$50"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := osls(t.Context(), t.TempDir(), test.args...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("packaged with error %v, want one with %q", err, test.want)
			}
		})
	}
}

// varying is what differs between two packagings: the deployment's id, and the folder of the zips.
var varying = regexp.MustCompile(`ApiGatewayDeployment\d+|serverless/flavorless/test/[^/"]+/`)

func TestPackagedTwiceIsTheSame(t *testing.T) {
	needTools(t)
	first, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	second, err := osls(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(varying.ReplaceAll(first, nil)), string(varying.ReplaceAll(second, nil))); diff != "" {
		t.Errorf("two packagings differ (-first +second):\n%s", diff)
	}
}

func TestLinters(t *testing.T) {
	for _, linter := range []struct {
		name    string
		command []string
		finds   string // what it says of a queue that is broken on purpose, to prove that it looks
	}{
		// W3005: osls writes DependsOn beside GetAtt.
		{"cfn-lint", []string{"cfn-lint", "--regions", "us-east-1", "--ignore-checks", "W3005", "--template"}, "'soon' is not of type 'integer'"},
		{"cloudformation-validate", []string{"node", filepath.Join(root, "tools", "cfnvalidate.mjs")}, "VisibilityTimeout"},
	} {
		t.Run(linter.name, func(t *testing.T) {
			needTools(t)
			src, err := compiled()
			if err != nil {
				t.Fatal(err)
			}
			lint := func(src []byte) (string, error) {
				file := filepath.Join(t.TempDir(), "template.json")
				if err := os.WriteFile(file, src, 0o600); err != nil {
					t.Fatal(err)
				}
				said, err := exec.CommandContext(t.Context(), linter.command[0], append(linter.command[1:], file)...).CombinedOutput()
				return string(said), err
			}
			if said, err := lint(src); err != nil {
				t.Errorf("%v:\n%s", err, said)
			}
			broken := regexp.MustCompile(`"VisibilityTimeout": ?180\b`).ReplaceAll(src, []byte(`"VisibilityTimeout":"soon"`))
			if bytes.Equal(src, broken) {
				t.Fatal("nothing was broken")
			}
			if said, err := lint(broken); err == nil || !strings.Contains(said, linter.finds) {
				t.Errorf("it does not see a broken template: %v\n%s", err, said)
			}
		})
	}
}

// TestOptionalThroughput: the table's throughput is DynamoDB's affair unless a stage sets it.
func TestOptionalThroughput(t *testing.T) {
	t.Run("by default", func(t *testing.T) {
		tpl := compiledTemplate(t)
		for _, property := range []string{"WarmThroughput", "OnDemandThroughput"} {
			if got := tpl.get("FavoritesTable", property); got != nil {
				t.Errorf("%s is %v, want none", property, got)
			}
		}
	})
	for _, test := range []struct {
		name   string
		params []string
		want   map[string]any // properties
	}{
		{"all", []string{"warmReadUnits=24000", "warmWriteUnits=8000", "maxReadUnits=30000", "maxWriteUnits=9000"}, map[string]any{
			"WarmThroughput":     map[string]any{"ReadUnitsPerSecond": 24000.0, "WriteUnitsPerSecond": 8000.0},
			"OnDemandThroughput": map[string]any{"MaxReadRequestUnits": 30000.0, "MaxWriteRequestUnits": 9000.0},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			needTools(t)
			var args []string
			for _, param := range test.params {
				args = append(args, "--param", param)
			}
			src, err := osls(t.Context(), t.TempDir(), args...)
			if err != nil {
				t.Fatal(err)
			}
			tpl := parse(t, src)
			for _, property := range []string{"WarmThroughput", "OnDemandThroughput"} {
				got, _ := tpl.get("FavoritesTable", property).(map[string]any)
				want, _ := test.want[property].(map[string]any)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", property, diff)
				}
			}
		})
	}
	for _, wrong := range []string{"warmWriteUnits=many", "maxReadUnits=0"} {
		t.Run(wrong, func(t *testing.T) {
			needTools(t)
			name, _, _ := strings.Cut(wrong, "=")
			if _, err := osls(t.Context(), t.TempDir(), "--param", wrong); err == nil || !strings.Contains(err.Error(), name+" is") {
				t.Errorf("packaged with error %v, want one about %s", err, name)
			}
		})
	}
}
