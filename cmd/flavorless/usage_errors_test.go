package main

import (
	"runtime"
	"strings"
	"testing"
)

// TestUsageErrors: a usage error is one line that names the mistake and the command that prints the help.
func TestUsageErrors(t *testing.T) {
	for line, want := range map[string][]string{
		"lookup":                    {"lookup needs an argument, PERSON", "flavorless lookup --help"},
		"lookup shane warne":        {`takes PERSON`, `"shane" "warne"`, "quotes", "flavorless lookup --help"},
		"upload":                    {"needs an argument, FILE", "flavorless upload --help"},
		"check":                     {"needs an argument, FILE", "flavorless check --help"},
		"uploads a b":               {"[ID]", "flavorless uploads --help"},
		"webhook-secret a b":        {"URL", "flavorless webhook-secret --help"},
		"team x":                    {"takes no arguments", `"x"`, "flavorless team --help"},
		"demo x":                    {"takes no argument", "flavorless demo --help"},
		"serve x":                   {"takes no argument", "flavorless serve --help"},
		"env x":                     {"takes no argument", "flavorless env --help"},
		"watch x":                   {"takes no argument", "flavorless watch --help"},
		"token x":                   {"takes no argument", "flavorless token --help"},
		"version x":                 {"takes no argument", "flavorless version --help"},
		"completion bash x":         {"takes no argument", "flavorless completion bash --help"},
		"completion bsh":            {`no command "bsh"`, "did you mean bash", "flavorless completion --help"},
		"uplaod":                    {`no command "uplaod"`, "did you mean upload", "flavorless --help"},
		"uplaod --key x y.csv":      {`no command "uplaod"`, "did you mean upload"},
		"lokup andy":                {"did you mean lookup"},
		"xyzzy":                     {`no command "xyzzy"; see: flavorless --help`},
		"help xyzzy":                {`no command "xyzzy"`},
		"--jsn":                     {"no flag --jsn", "flavorless --help"},
		"upload --kye x y.csv":      {"no flag --kye", "did you mean --key?", "flavorless upload --help"},
		"team --jsno":               {"did you mean --json?", "flavorless team --help"},
		"serve --max-upload 1":      {"did you mean --max-upload"},
		"uploads --xyzzy":           {"uploads has no flag --xyzzy; see:"},
		"team -z":                   {"team has no flag -z; see:"},
		"upload y.csv --key":        {"--key needs a value", "flavorless upload --help"},
		"uploads --limit many":      {`--limit can't be "many"`, "whole number", "flavorless uploads --help"},
		"watch --since 3":           {`--since can't be "3"`, "10m", "flavorless watch --help"},
		"upload --detach=si y.csv":  {`--detach can't be "si"`, "true or false"},
		"serve --keep-uploads soon": {`--keep-uploads can't be "soon"`, "90d", "flavorless serve --help"},
	} {
		t.Run(line, func(t *testing.T) {
			got := command(t, "", strings.Fields(line)...)
			if got.code != exitUsage || got.out != "" || strings.Count(got.err, "\n") != 1 {
				t.Errorf("%+v, want exit code %d and one line", got, exitUsage)
			}
			for _, part := range want {
				if !strings.Contains(got.err, part) {
					t.Errorf("stderr = %q, want it to contain %q", got.err, part)
				}
			}
		})
	}
}

func TestVersion(t *testing.T) {
	for _, line := range []string{"--version", "version", "version --json", "--help"} {
		if got := command(t, "", strings.Fields(line)...); got.code != exitOK ||
			!strings.Contains(got.out, runtime.Version()) || got.err != "" {
			t.Errorf("%s: %+v, want the version of Go", line, got)
		}
	}
}

func TestCompletion(t *testing.T) {
	if got := command(t, "", "--help"); !strings.Contains(got.out, "flavorless completion bash") ||
		!strings.Contains(got.out, "\n  completion ") {
		t.Errorf("--help = %s, want the completion command", got.out)
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		command(t, "", "completion", shell).wantOut(t, exitOK, "flavorless")
	}
	for line, want := range map[string]string{"__complete upl": "upload\t", "__complete team --js": "--json\t"} {
		command(t, "", strings.Fields(line)...).wantOut(t, exitOK, want)
	}
}
