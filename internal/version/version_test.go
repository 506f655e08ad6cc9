package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestString(t *testing.T) {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	const commit = "4d1f0e6a9b2c3d4e5f60718293a4b5c6d7e8f901"
	tests := []struct {
		name  string
		build debug.BuildInfo
		want  string
	}{
		{"release", debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3 (go1.26.0, " + platform + ")"},
		{"work tree", debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: "(devel)"}}, "devel (go1.26.0, " + platform + ")"},
		{"no version", debug.BuildInfo{GoVersion: "go1.26.0"}, "devel (go1.26.0, " + platform + ")"},
		{
			"commit", debug.BuildInfo{GoVersion: "go1.26.0", Settings: []debug.BuildSetting{setting("vcs.revision", commit), setting("vcs.modified", "false")}},
			"devel (commit 4d1f0e6a9b2c, go1.26.0, " + platform + ")",
		},
		{
			"changed commit", debug.BuildInfo{GoVersion: "go1.26.0", Settings: []debug.BuildSetting{setting("vcs.revision", "4d1f"), setting("vcs.modified", "true")}},
			"devel (commit 4d1f with changes, go1.26.0, " + platform + ")",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
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
