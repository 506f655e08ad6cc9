package template_test

import (
	"bytes"
	"context"
	"fmt"
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

// root is the folder of the repository.
const root = "../.."

// needTools skips a test that needs more than Go, unless `make test` has installed everything.
func needTools(t testing.TB) {
	t.Helper()
	if os.Getenv("FLAVORLESS_TEST_TOOLS") == "" {
		t.Skip("this test needs osls, cfn-lint and more that test/tools.sh installs; run it with: make test")
	}
}

// compiled returns the template of the stage test. It is packaged once for all tests.
var compiled = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "flavorless-template-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	return osls(context.Background(), dir)
})

// compiledTemplate returns a new copy of the template, which the test may modify.
func compiledTemplate(t testing.TB) *template {
	t.Helper()
	needTools(t)
	src, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, src)
}

// packageWith returns the template of a stage with these parameters, each as name=value.
func packageWith(t *testing.T, params ...string) ([]byte, error) {
	t.Helper()
	needTools(t)
	return osls(t.Context(), t.TempDir(), paramArgs(params)...)
}

// packageNewStage is packageWith for a stage that serverless.yml does not have.
func packageNewStage(t *testing.T, params ...string) ([]byte, error) {
	t.Helper()
	needTools(t)
	return osls(t.Context(), t.TempDir(), append(paramArgs(params), "--stage", "unheardof")...)
}

func paramArgs(params []string) (args []string) {
	for _, param := range params {
		args = append(args, "--param", param)
	}
	return args
}

// osls packages a copy of the deployment in dir, with placeholders for the functions' zips, and returns the template.
// An error has the output of osls.
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
	program := filepath.Join(repository, "node_modules/osls/bin/serverless.js")
	cmd := exec.CommandContext(ctx, "node", append([]string{program, "package"}, args...)...)
	cmd.Dir = dir
	// The environment has neither credentials nor a configuration of the developer.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "NO_COLOR=1", "AWS_EC2_METADATA_DISABLED=true"}
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("osls package: %w\n%s", err, output)
	}
	return os.ReadFile(filepath.Join(dir, ".serverless", "cloudformation-template-update-stack.json"))
}

var artifact = regexp.MustCompile(`artifact: (\.build/[a-z]+\.zip)`)

// identityProvider are the parameters that every stage must state.
var identityProvider = map[string]string{
	"tokenIssuer": "https://id.example/", "audience": "flavors", "jwksUri": "https://id.example/keys",
}

// identityParams returns the parameters of the identity provider, except some.
func identityParams(except ...string) (params []string) {
	for param, value := range identityProvider {
		if !slices.Contains(except, param) {
			params = append(params, param+"="+value)
		}
	}
	return params
}

// TestInvalidParameters packages stages with missing or invalid parameters, and checks that the error names the
// parameter.
func TestInvalidParameters(t *testing.T) {
	for _, test := range []struct {
		name    string
		pack    func(*testing.T, ...string) ([]byte, error)
		params  []string
		mention []string
	}{
		{"no tokenIssuer", packageNewStage, identityParams("tokenIssuer"), []string{"tokenIssuer"}},
		{"no audience", packageNewStage, identityParams("audience"), []string{"audience"}},
		{"no jwksUri", packageNewStage, identityParams("jwksUri"), []string{"jwksUri"}},
		{"no identity provider", packageNewStage, nil, []string{"tokenIssuer", "audience", "jwksUri"}},
		{"budget without e-mail", packageNewStage, append(identityParams(), "monthlyBudget=50"),
			[]string{"monthlyBudget", "alarmEmail"}},
		{"budget is no number", packageWith, []string{"monthlyBudget=$50"}, []string{"monthlyBudget", `"$50"`}},
		{"warmWriteUnits is no number", packageWith, []string{"warmWriteUnits=many"}, []string{"warmWriteUnits", `"many"`}},
		{"reports are kept for too short", packageWith, []string{"reportRetentionDays=30"},
			[]string{"reportRetentionDays", `"30"`, "90"}},
		{"maxReadUnits is 0", packageWith, []string{"maxReadUnits=0"}, []string{"maxReadUnits", `"0"`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := test.pack(t, test.params...)
			for _, text := range test.mention {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("error %v, want one that mentions %s", err, text)
				}
			}
		})
	}
}

// TestIdentityProvider packages a new stage that states its identity provider.
func TestIdentityProvider(t *testing.T) {
	src, err := packageNewStage(t, identityParams()...)
	if err != nil {
		t.Fatal(err)
	}
	tpl := parse(t, src)
	checkRules(t, tpl)
	for variable, param := range map[string]string{"TOKEN_ISSUER": "tokenIssuer", "AUDIENCE": "audience",
		"JWKS_URI": "jwksUri"} {
		if got := tpl.get("AuthorizerLambdaFunction", "Environment", "Variables", variable); got != identityProvider[param] {
			t.Errorf("%s = %v, want %s", variable, got, identityProvider[param])
		}
	}
}

// TestSubscriberAccounts checks that queues and functions of the named accounts may be subscribed, and always those of
// the stack's own account, which `flavorless watch --stack` needs.
func TestSubscriberAccounts(t *testing.T) {
	src, err := packageWith(t, "subscriberAccounts=210987654321")
	if err != nil {
		t.Fatal(err)
	}
	tpl := parse(t, src)
	checkRules(t, tpl)
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

// TestOptions packages a stage with every optional feature, and one without.
func TestOptions(t *testing.T) {
	tpl := compiledTemplate(t)
	for _, property := range []string{"WarmThroughput", "OnDemandThroughput"} {
		if got := tpl.get("FavoritesTable", property); got != nil {
			t.Errorf("by default %s = %v, want none", property, got)
		}
	}
	src, err := packageWith(t, "warmReadUnits=24000", "warmWriteUnits=8000", "maxReadUnits=30000", "maxWriteUnits=9000",
		"monthlyBudget=50",
		"ingestConcurrency=50", "readerConcurrency=100", "announceParallelization=10", "listRequestsPerSecond=3",
		"listRequestBurst=5")
	if err != nil {
		t.Fatal(err)
	}
	tpl = parse(t, src)
	checkRules(t, tpl)
	for _, test := range []struct {
		id, path string
		want     any
	}{
		{"FavoritesTable", "WarmThroughput.ReadUnitsPerSecond", 24000.0},
		{"FavoritesTable", "WarmThroughput.WriteUnitsPerSecond", 8000.0},
		{"FavoritesTable", "OnDemandThroughput.MaxReadRequestUnits", 30000.0},
		{"FavoritesTable", "OnDemandThroughput.MaxWriteRequestUnits", 9000.0},
		{"Budget", "Budget.BudgetLimit.Amount", 50.0},
		{"Budget", "Budget.BudgetName.Fn::Sub", "flavorless-test-${AWS::Region}"},
		{"IngestLambdaFunction", "ReservedConcurrentExecutions", 50.0},
		{"TeamLambdaFunction", "ReservedConcurrentExecutions", 100.0},
		{"LookupLambdaFunction", "ReservedConcurrentExecutions", 100.0},
		{"UploadsLambdaFunction", "ReservedConcurrentExecutions", 100.0},
		{"AuthorizerLambdaFunction", "ReservedConcurrentExecutions", 100.0},
		{announceMapping, "ParallelizationFactor", 10.0},
	} {
		if got := tpl.get(test.id, strings.Split(test.path, ".")...); got != test.want {
			t.Errorf("%s of %s = %v, want %v", test.path, test.id, got, test.want)
		}
	}
	if output, err := lint(t, cfnLint, src); err != nil {
		t.Errorf("%v:\n%s", err, output)
	}
}

// varying matches what differs between two packagings: the deployment's id, and the folder of the zips.
var varying = regexp.MustCompile(`ApiGatewayDeployment\d+|serverless/flavorless/test/[^/"]+/`)

func TestPackagingIsReproducible(t *testing.T) {
	second, err := packageWith(t)
	if err != nil {
		t.Fatal(err)
	}
	first, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(varying.ReplaceAll(first, nil)), string(varying.ReplaceAll(second, nil))); diff != "" {
		t.Errorf("two packagings differ (-first +second):\n%s", diff)
	}
}

// Commands that lint a template. cfn-lint's W3005 is ignored because osls writes DependsOn beside GetAtt.
var (
	cfnLint     = []string{"cfn-lint", "--regions", "us-east-1", "--ignore-checks", "W3005", "--template"}
	cfnValidate = []string{"node", filepath.Join(root, "tools", "cfnvalidate.mjs")}
)

// lint runs a linter on a template, and returns its output.
func lint(t *testing.T, linter []string, src []byte) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "template.json")
	if err := os.WriteFile(file, src, 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), linter[0], append(linter[1:len(linter):len(linter)],
		file)...).CombinedOutput()
	return string(output), err
}

func TestLinters(t *testing.T) {
	for _, test := range []struct {
		name   string
		linter []string
		finds  string // what it reports about an invalid queue
	}{
		{"cfn-lint", cfnLint, "'soon' is not of type 'integer'"},
		{"cloudformation-validate", cfnValidate, "VisibilityTimeout"},
	} {
		t.Run(test.name, func(t *testing.T) {
			needTools(t)
			src, err := compiled()
			if err != nil {
				t.Fatal(err)
			}
			if output, err := lint(t, test.linter, src); err != nil {
				t.Errorf("%v:\n%s", err, output)
			}
			broken := regexp.MustCompile(`"VisibilityTimeout": ?180\b`).ReplaceAll(src, []byte(`"VisibilityTimeout":"soon"`))
			if bytes.Equal(src, broken) {
				t.Fatal("the template has no VisibilityTimeout of 180 to break")
			}
			if output, err := lint(t, test.linter, broken); err == nil || !strings.Contains(output, test.finds) {
				t.Errorf("output of a broken template = %q, error %v, want %q", output, err, test.finds)
			}
		})
	}
}
