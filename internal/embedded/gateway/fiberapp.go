package gateway

import (
	"errors"
	"reflect"

	"github.com/gofiber/fiber/v3"
	"github.com/versity/versitygw/s3api"
)

// appOf returns the HTTP server inside versitygw's server. It reads a private field, because the exported methods are
// not enough: ServeMultiPort accepts only addresses and does not say which free port it got, and ShutDown waits ten
// seconds for connections that never sent a request, of which Go's HTTP client keeps a few.
//
// A method of S3ApiServer that returns the app, or one that serves a given net.Listener and one that shuts down with a
// context, would replace this function. If a release renames the field, Start fails and so does every test.
func appOf(api *s3api.S3ApiServer) (*fiber.App, error) {
	field := reflect.ValueOf(api).Elem().FieldByName("app")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*fiber.App]() {
		return nil, errors.New("this release of versitygw has no field S3ApiServer.app of type *fiber.App")
	}
	return (*fiber.App)(field.UnsafePointer()), nil
}
