package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestString(t *testing.T) {
	vcs := func(revision, modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: modified}}
	}
	release, devel := debug.Module{Version: "v1.2.3"}, debug.Module{Version: "(devel)"}
	platform := "go1.26.0, " + runtime.GOOS + "/" + runtime.GOARCH
	tests := []struct {
		name  string
		build debug.BuildInfo
		want  string
	}{
		{"release", debug.BuildInfo{Main: release}, "v1.2.3 (" + platform + ")"},
		{"work tree", debug.BuildInfo{Main: devel}, "devel (" + platform + ")"},
		{"no version", debug.BuildInfo{}, "devel (" + platform + ")"},
		{"commit", debug.BuildInfo{Settings: vcs("4d1f0e6a9b2c3d4e5f60718293a4b5c6d7e8f901", "false")},
			"devel (commit 4d1f0e6a9b2c, " + platform + ")"},
		{"changed commit", debug.BuildInfo{Settings: vcs("4d1f", "true")},
			"devel (commit 4d1f with changes, " + platform + ")"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.build.GoVersion = "go1.26.0"
			if got := of(&test.build).String(); got != test.want {
				t.Errorf("String() = %q, want %q", got, test.want)
			}
		})
	}
}

func TestGet(t *testing.T) {
	got := Get()
	if got.Version == "" || got.Go != runtime.Version() || got.Platform == "" {
		t.Errorf("Get() = %+v, want a version, %s and a platform", got, runtime.Version())
	}
}
