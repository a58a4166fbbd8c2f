"""What `dpp-feedback doctor` looks at: one file for each area, each finding with its next step."""
