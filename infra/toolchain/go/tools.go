//go:build tools

// Package toolchain pins the Pulumi CLI: the blank import under a tag that no build sets keeps the CLI's module, and
// with it every checksum of its dependencies, in go.mod and go.sum when `go mod tidy` runs.
package toolchain

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
