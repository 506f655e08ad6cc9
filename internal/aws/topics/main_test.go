package topics_test

import (
	"os"
	"testing"

	"github.com/flavorless/flavorless/test/moto"
)

// emulator is shared by all tests of this package.
var emulator moto.Server

func TestMain(m *testing.M) {
	code := m.Run()
	emulator.Stop()
	os.Exit(code)
}
