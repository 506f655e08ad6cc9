package s3store_test

import (
	"testing"

	"github.com/flavorless/flavorless/test/moto"
)

// emulator is the S3 emulator of this test binary.
var emulator moto.Server

func TestMain(m *testing.M) {
	m.Run()
	emulator.Stop()
}
