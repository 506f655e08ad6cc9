package s3store_test

import (
	"os"
	"testing"

	"github.com/flavorless/flavorless/test/moto"
)

// judge is the one server of this test binary; see its type.
var judge moto.Server

func TestMain(m *testing.M) {
	code := m.Run()
	judge.Stop()
	os.Exit(code)
}
