// Command hello stands for a Lambda function in the tests of lambdazip.
package main

func main() { println("hello") }
