// Command uploads is the Lambda function that serves GET /uploads and GET /uploads/{id}, the routes
// that need no token, and requests for which there is no route.
package main

import (
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/reader"
)

func main() { reader.Main("uploads", (*config.Env).Uploads) }
