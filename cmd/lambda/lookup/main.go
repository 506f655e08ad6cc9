// Command lookup is the Lambda function that serves GET /ice-cream/{person}.
package main

import (
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/reader"
)

func main() { reader.Main("lookup", (*config.Env).Favorites) }
