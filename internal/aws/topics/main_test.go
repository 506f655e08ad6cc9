package topics_test

import (
	"testing"

	"github.com/flavorless/flavorless/test/moto"
)

// emulator is shared by all tests of this package.
var emulator moto.Server

func TestMain(m *testing.M) {
	m.Run()
	emulator.Stop()
}
