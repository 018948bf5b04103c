// Copies one image over plain HTTP into a directory with the library of present-day podman, which
// differs from Debian's podman exactly where the registry makes promises: it prints warnings and the
// messages of refused blobs, and it resumes a blob that was cut.
//
//	image-copy HOST:PORT/NAME:TAG DIRECTORY
package main

import (
	"context"
	"fmt"
	"os"

	"go.podman.io/image/v5/copy"
	"go.podman.io/image/v5/directory"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/signature"
	"go.podman.io/image/v5/types"
)

func main() {
	if len(os.Args) != 3 {
		fail(fmt.Errorf("usage: image-copy HOST:PORT/NAME:TAG DIRECTORY"))
	}
	source, err := docker.ParseReference("//" + os.Args[1])
	if err != nil {
		fail(err)
	}
	target, err := directory.NewReference(os.Args[2])
	if err != nil {
		fail(err)
	}
	policy, err := signature.NewPolicyContext(&signature.Policy{
		Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()},
	})
	if err != nil {
		fail(err)
	}
	plain := &types.SystemContext{DockerInsecureSkipTLSVerify: types.OptionalBoolTrue}
	if _, err := copy.Image(context.Background(), policy, target, source, &copy.Options{SourceCtx: plain}); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
