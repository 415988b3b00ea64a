"""Teachers and judges that lwexp knows: any model of litellm's, the offline stand-in, and no judge at all."""
