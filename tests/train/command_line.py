"""The command `nwave` as a file, which processes start again."""

from nwavesdk.cli import main

if __name__ == "__main__":
    main()
