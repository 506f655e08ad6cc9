// Package test has tests that need several packages of flavorless at once.
package test

import (
	"testing"

	"github.com/flavorless/flavorless/test/dynamolocal"
	"github.com/flavorless/flavorless/test/moto"
)

// The emulators that all tests of this package share.
var (
	dynamoEmulator dynamolocal.Server
	motoEmulator   moto.Server
)

func TestMain(m *testing.M) {
	m.Run()
	dynamoEmulator.Stop()
	motoEmulator.Stop()
}
