// Command team is the Lambda function that serves GET /team.
package main

import (
	"github.com/flavorless/flavorless/internal/config"
	"github.com/flavorless/flavorless/internal/lambda/reader"
)

func main() { reader.Main("team", (*config.Env).Favorites) }
